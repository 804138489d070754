// When a plan runs, in the forms that people choose from, and what it promises: how old its last good point may be.
import { Cron } from 'croner';

export type Rhythm =
  | { kind: 'asked' }
  | { kind: 'hours'; every: number; minute: number }
  | { kind: 'daily'; at: string }
  | { kind: 'weekly'; days: number[]; at: string }
  | { kind: 'cron'; cron: string };

/** The hours between runs that divide a day. */
export const EVERY_HOURS = [1, 2, 3, 4, 6, 8, 12];

function time(hour: string, minute: string): string {
  return `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;
}

/** The form that an expression was made of, or the expression itself. */
export function rhythmOf(cron: string | null | undefined): Rhythm {
  if (!cron) return { kind: 'asked' };
  const parts = cron.trim().split(/\s+/);
  const [minute = '', hour = '', dayOfMonth, month, weekday = ''] = parts;
  const isNumber = (text: string) => /^\d+$/.test(text);
  if (parts.length === 5 && dayOfMonth === '*' && month === '*' && isNumber(minute)) {
    const every = hour === '*' ? 1 : Number(/^\*\/(\d+)$/.exec(hour)?.[1] ?? 0);
    if (EVERY_HOURS.includes(every) && weekday === '*') return { kind: 'hours', every, minute: Number(minute) };
    if (isNumber(hour) && weekday === '*') return { kind: 'daily', at: time(hour, minute) };
    if (isNumber(hour) && /^[0-6](,[0-6])*$/.test(weekday)) {
      return { kind: 'weekly', days: weekday.split(',').map(Number), at: time(hour, minute) };
    }
  }
  return { kind: 'cron', cron };
}

export function cronOf(rhythm: Rhythm): string | undefined {
  if (rhythm.kind === 'asked') return undefined;
  if (rhythm.kind === 'cron') return rhythm.cron;
  if (rhythm.kind === 'hours') return `${rhythm.minute} ${rhythm.every === 1 ? '*' : `*/${rhythm.every}`} * * *`;
  const [hour = 0, minute = 0] = rhythm.at.split(':').map(Number);
  const days = rhythm.kind === 'weekly' ? [...rhythm.days].sort().join(',') : '*';
  return `${minute} ${hour} * * ${days}`;
}

/** Runs after a time; empty when the expression or the zone cannot be used. */
export function runs(cron: string | undefined, zone: string, after: Date, count: number): Date[] {
  if (!cron) return [];
  try {
    return new Cron(cron, { timezone: zone, paused: true }).nextRuns(count, after);
  } catch {
    return [];
  }
}

/** All runs between two times, at most so many. */
export function runsBetween(cron: string | undefined, zone: string, from: Date, until: Date, most = 9000): Date[] {
  if (!cron) return [];
  try {
    const times = new Cron(cron, { timezone: zone, paused: true });
    const found: Date[] = [];
    let at = times.nextRun(from);
    while (at && at <= until && found.length < most) {
      found.push(at);
      at = times.nextRun(at);
    }
    return found;
  } catch {
    return [];
  }
}

/** The part of a plan that a promise follows from. */
export interface Promising {
  when: { cron?: string | null; zone?: string; jitter_s?: number };
  paused: boolean;
  created_at: string;
  last_good_at?: string | null;
}

export type Promised =
  | { kind: 'kept' | 'late' | 'waiting'; allowedMs: number; ageMs: number | undefined }
  | { kind: 'paused' | 'none'; allowedMs: undefined; ageMs: number | undefined };

const GRACE_MS = 3_600_000;

/**
 * Whether a plan keeps its promise: that its last good point is no older than the longest gap between its runs, with its jitter and
 * an hour or a tenth of the gap for the backup itself. A plan that is younger than that still waits for its first.
 */
export function promised(plan: Promising, now: Date): Promised {
  const ageMs = plan.last_good_at ? now.getTime() - new Date(plan.last_good_at).getTime() : undefined;
  if (plan.paused) return { kind: 'paused', allowedMs: undefined, ageMs };
  const next = runs(plan.when.cron ?? undefined, plan.when.zone ?? 'UTC', now, 15);
  const gaps = next.slice(1).map((at, place) => at.getTime() - (next[place]?.getTime() ?? 0));
  if (gaps.length === 0) return { kind: 'none', allowedMs: undefined, ageMs };
  const gap = Math.max(...gaps);
  const allowedMs = gap + 1000 * (plan.when.jitter_s ?? 0) + Math.max(GRACE_MS, gap / 10);
  if (ageMs !== undefined) return { kind: ageMs <= allowedMs ? 'kept' : 'late', allowedMs, ageMs };
  const livesMs = now.getTime() - new Date(plan.created_at).getTime();
  return { kind: livesMs <= allowedMs ? 'waiting' : 'late', allowedMs, ageMs };
}
