// A plan while it is being written, and what the server gets of it.
import { SENSIBLE, type Keep } from './keep';
import { cronOf, rhythmOf, type Rhythm } from './schedule';

export interface PlanDraft {
  name: string;
  agentId: string;
  allDisks: boolean;
  paths: string[];
  rhythm: Rhythm;
  zone: string;
  jitterS: number;
  catchUp: boolean;
  keep: Keep;
  retries: { count: number; pause_s: number };
  allowLive: boolean;
  usedBlocksOnly: boolean;
  limitBytesPerS: number | undefined;
}

export function newDraft(agentId: string, zone: string): PlanDraft {
  return {
    name: '', agentId, allDisks: false, paths: [], rhythm: { kind: 'daily', at: '02:00' }, zone, jitterS: 900, catchUp: true,
    keep: SENSIBLE, retries: { count: 3, pause_s: 60 }, allowLive: false, usedBlocksOnly: false, limitBytesPerS: undefined,
  };
}

interface WorkOf {
  sources: 'all_disks' | { paths: string[] };
  allow_live?: boolean;
  used_blocks_only?: boolean;
  limit_bytes_per_s?: number | null;
  [more: string]: unknown;
}

interface WhenOf {
  cron?: string | null;
  zone?: string;
  jitter_s?: number;
  catch_up?: boolean;
  [more: string]: unknown;
}

export interface PlanOf {
  name: string;
  agent_id: string;
  work: WorkOf;
  when: WhenOf;
  keep: Partial<Keep>;
  retries: { count?: number; pause_s?: number };
}

export function draftOf(plan: PlanOf): PlanDraft {
  const { work, when } = plan;
  return {
    name: plan.name,
    agentId: plan.agent_id,
    allDisks: work.sources === 'all_disks',
    paths: work.sources === 'all_disks' ? [] : work.sources.paths,
    rhythm: rhythmOf(when.cron),
    zone: when.zone ?? 'UTC',
    jitterS: when.jitter_s ?? 0,
    catchUp: when.catch_up ?? true,
    keep: { ...SENSIBLE, daily: 0, weekly: 0, monthly: 0, minimum: 0, ...plan.keep },
    retries: { count: plan.retries.count ?? 3, pause_s: plan.retries.pause_s ?? 60 },
    allowLive: work.allow_live ?? false,
    usedBlocksOnly: work.used_blocks_only ?? false,
    limitBytesPerS: work.limit_bytes_per_s ?? undefined,
  };
}

/** The body for the server. What the form does not show (windows, hooks, left-out partitions) stays as it was. */
export function bodyOf(draft: PlanDraft, before?: PlanOf) {
  return {
    name: draft.name.trim(),
    agent_id: draft.agentId,
    work: {
      ...before?.work,
      sources: draft.allDisks ? ('all_disks' as const) : { paths: draft.paths },
      allow_live: draft.allowLive,
      used_blocks_only: draft.usedBlocksOnly,
      limit_bytes_per_s: draft.limitBytesPerS ?? null,
    },
    when: { ...before?.when, cron: cronOf(draft.rhythm) ?? null, zone: draft.zone, jitter_s: draft.jitterS, catch_up: draft.catchUp },
    keep: draft.keep,
    retries: draft.retries,
  };
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

export type Missing = 'machine' | 'disks' | 'path' | 'name' | 'days';

/** What is still needed, by the part of the form that asks for it. */
export function missing(draft: PlanDraft): Missing[] {
  const found: Missing[] = [];
  if (!draft.agentId) found.push('machine');
  if (!draft.allDisks && draft.paths.length === 0) found.push('disks');
  if (draft.paths.some((path) => !path.startsWith('/'))) found.push('path');
  if (draft.rhythm.kind === 'weekly' && draft.rhythm.days.length === 0) found.push('days');
  if (!NAME.test(draft.name.trim())) found.push('name');
  return found;
}

/** A name for a plan of a machine that is not taken. */
export function nameFor(machine: string, taken: string[]): string {
  const plain = machine.toLowerCase().replaceAll(/[^a-z0-9._-]+/g, '-').replace(/^[^a-z0-9]+/, '').slice(0, 56) || 'machine';
  const free = (name: string) => !taken.includes(name);
  if (free(plain)) return plain;
  let number = 2;
  while (!free(`${plain}-${number}`)) number += 1;
  return `${plain}-${number}`;
}
