// A restore that is being thought about, as the URL holds it, and what it becomes for the server.
import { quoted } from './commands';
import { short } from './pointState';

export const WHATS = ['disk', 'partition', 'files', 'image'] as const;
export type What = (typeof WHATS)[number];
export const FORMATS = ['qcow2', 'vmdk'] as const;
export type Format = (typeof FORMATS)[number];

export interface RestoreDraft {
  point: string;
  disk: string | undefined;
  what: What;
  partition: number | undefined;
  files: string[];
  format: Format;
  /** The agent that writes it; none: the keeper of the repository. */
  agent: string | undefined;
  target: string;
  overwrite: boolean;
  delta: boolean;
}

export type Lack = 'point' | 'disk' | 'partition' | 'files' | 'target';

function oneOf<T extends string>(all: readonly T[], text: string | null): T | undefined {
  return all.find((one) => one === text);
}

export function draftOf(search: URLSearchParams): RestoreDraft {
  const number = Number(search.get('partition'));
  return {
    point: search.get('point') ?? '',
    disk: search.get('disk') ?? undefined,
    what: oneOf(WHATS, search.get('what')) ?? 'disk',
    partition: Number.isInteger(number) && number > 0 ? number : undefined,
    files: search.getAll('file'),
    format: oneOf(FORMATS, search.get('format')) ?? 'qcow2',
    agent: search.get('agent') ?? undefined,
    target: search.get('target') ?? '',
    overwrite: search.has('overwrite'),
    delta: search.has('delta'),
  };
}

/** Only what differs from the defaults stands in the URL. */
export function searchOf(draft: RestoreDraft): URLSearchParams {
  const search = new URLSearchParams();
  if (draft.point) search.set('point', draft.point);
  if (draft.disk) search.set('disk', draft.disk);
  if (draft.what !== 'disk') search.set('what', draft.what);
  if (draft.partition) search.set('partition', String(draft.partition));
  for (const file of draft.files) search.append('file', file);
  if (draft.format !== 'qcow2') search.set('format', draft.format);
  if (draft.agent) search.set('agent', draft.agent);
  if (draft.target) search.set('target', draft.target);
  if (draft.overwrite) search.set('overwrite', '');
  if (draft.delta) search.set('delta', '');
  return search;
}

/** Lines of a text field, without those that are empty. */
export function paths(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter(Boolean);
}

/** What has still to be said. */
export function lacks(draft: RestoreDraft, disks: number): Lack[] {
  const found: Lack[] = [];
  if (!draft.point) found.push('point');
  if (disks > 1 && !draft.disk) found.push('disk');
  if (draft.what === 'partition' && draft.partition === undefined) found.push('partition');
  if (draft.what === 'files' && (draft.files.length === 0 || draft.files.some((file) => !file.startsWith('/')))) found.push('files');
  if (!/^\/.+/.test(draft.target)) found.push('target');
  return found;
}

/** Disks and partitions are passed to other machines; files and images are written by the keeper. */
export function goesToMachines(draft: RestoreDraft): boolean {
  return draft.what === 'disk' || draft.what === 'partition';
}

export interface RestoreBody {
  point: string;
  agent_id?: string;
  target: string;
  disk?: string;
  partition?: number;
  files?: string[];
  format?: 'raw' | Format;
  delta?: boolean;
  overwrite?: boolean;
  dry_run?: boolean;
}

/** Without what the kind of restore does not know. */
export function bodyOf(draft: RestoreDraft, isDry: boolean): RestoreBody {
  const compares = draft.what === 'disk' || draft.what === 'partition';
  return {
    point: draft.point,
    ...(draft.agent && goesToMachines(draft) ? { agent_id: draft.agent } : {}),
    target: draft.target,
    ...(draft.disk ? { disk: draft.disk } : {}),
    ...(draft.partition && (draft.what === 'partition' || draft.what === 'files') ? { partition: draft.partition } : {}),
    ...(draft.what === 'files' ? { files: draft.files } : {}),
    ...(draft.what === 'image' ? { format: draft.format } : {}),
    ...(draft.delta && compares ? { delta: true } : {}),
    ...(draft.overwrite ? { overwrite: true } : {}),
    ...(isDry ? { dry_run: true } : {}),
  };
}

/** Files are written beside what is there, so there is nothing to look at first. */
export function canLookFirst(draft: RestoreDraft): boolean {
  return draft.what !== 'files';
}

/** Whether something that is there may be lost: then the target's name is typed. */
export function destroys(draft: RestoreDraft): boolean {
  return draft.overwrite || (draft.delta && draft.what !== 'files' && draft.what !== 'image') || draft.target.startsWith('/dev/');
}

/** The same on the command line of any machine. */
export function cliOf(draft: RestoreDraft, isDry: boolean): string {
  const isImage = draft.what === 'image';
  const words = ['icecore', isImage ? 'export' : 'restore', short(draft.point)];
  if (isImage) words.push('--format', draft.format);
  if (draft.disk) words.push('--disk', quoted(draft.disk));
  if (draft.partition && (draft.what === 'partition' || draft.what === 'files')) words.push('--partition', String(draft.partition));
  if (draft.what === 'files') words.push('--files', ...draft.files.map(quoted));
  words.push('--to', quoted(draft.target || '/dev/sdX'));
  if (draft.delta && (draft.what === 'disk' || draft.what === 'partition')) words.push('--delta');
  if (draft.overwrite) words.push('--overwrite');
  if (isDry && !isImage) words.push('--dry-run');
  return words.join(' ');
}
