// A restore that is being thought about, as the URL holds it, and what it becomes for the server.
import { quoted } from './commands';
import { short } from './pointState';

export const WHATS = ['disk', 'partition', 'files', 'image'] as const;
export type What = (typeof WHATS)[number];
export const FORMATS = ['qcow2', 'vmdk'] as const;
export type Format = (typeof FORMATS)[number];

/** What becomes of files that exist. */
export const EXISTING = ['beside', 'skip', 'overwrite'] as const;
export type Existing = (typeof EXISTING)[number];

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
  /** Files go back to where they were. */
  inPlace: boolean;
  existing: Existing;
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
    inPlace: search.has('inplace'),
    existing: oneOf(EXISTING, search.get('existing')) ?? 'beside',
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
  if (draft.inPlace) search.set('inplace', '');
  if (draft.existing !== 'beside') search.set('existing', draft.existing);
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
  if (!goesBack(draft) && !/^\/.+/.test(draft.target)) found.push('target');
  return found;
}

/** Whether it goes back to where it was, and needs no target. */
export function goesBack(draft: RestoreDraft): boolean {
  return draft.what === 'files' && draft.inPlace;
}

/** Disks, partitions and files are passed to other machines; images are written by the keeper. */
export function goesToMachines(draft: RestoreDraft): boolean {
  return draft.what !== 'image';
}

/** The directory that a machine has to allow for it, as far as one can tell from here. */
export function allowedFor(draft: RestoreDraft): string {
  const first = draft.files[0] ?? '/';
  return goesBack(draft) ? first.slice(0, first.lastIndexOf('/')) || '/' : draft.target || (draft.what === 'files' ? '/srv/restores' : '/dev/vdb');
}

export interface RestoreBody {
  point: string;
  agent_id?: string;
  target?: string;
  in_place?: boolean;
  existing?: Existing;
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
    ...(goesBack(draft) ? { in_place: true } : { target: draft.target }),
    ...(draft.disk ? { disk: draft.disk } : {}),
    ...(draft.partition && (draft.what === 'partition' || draft.what === 'files') ? { partition: draft.partition } : {}),
    ...(draft.what === 'files' ? { files: draft.files, existing: draft.existing } : {}),
    ...(draft.what === 'image' ? { format: draft.format } : {}),
    ...(draft.delta && compares ? { delta: true } : {}),
    ...(draft.overwrite && draft.what !== 'files' ? { overwrite: true } : {}),
    ...(isDry ? { dry_run: true } : {}),
  };
}

/** Whether something that is there may be lost: then the target's name is typed. */
export function destroys(draft: RestoreDraft): boolean {
  if (draft.what === 'files') return draft.existing === 'overwrite';
  return draft.overwrite || (draft.delta && draft.what !== 'image') || draft.target.startsWith('/dev/');
}

/** What is typed to confirm it. */
export function confirmWord(draft: RestoreDraft): string {
  return goesBack(draft) ? (draft.files[0] ?? '/') : draft.target;
}

/** The same on the command line of any machine. */
export function cliOf(draft: RestoreDraft, isDry: boolean): string {
  const isImage = draft.what === 'image';
  const words = ['icecore', isImage ? 'export' : 'restore', short(draft.point)];
  if (isImage) words.push('--format', draft.format);
  if (draft.disk) words.push('--disk', quoted(draft.disk));
  if (draft.partition && (draft.what === 'partition' || draft.what === 'files')) words.push('--partition', String(draft.partition));
  if (draft.what === 'files') words.push('--files', ...draft.files.map(quoted));
  if (goesBack(draft)) words.push('--in-place');
  else words.push('--to', quoted(draft.target || '/dev/sdX'));
  if (draft.delta && (draft.what === 'disk' || draft.what === 'partition')) words.push('--delta');
  if (draft.what === 'files' ? draft.existing === 'overwrite' : draft.overwrite) words.push('--overwrite');
  if (draft.what === 'files' && draft.existing === 'beside') words.push('--beside');
  if (isDry && !isImage) words.push('--dry-run');
  return words.join(' ');
}
