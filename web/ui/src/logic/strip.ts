// The core of a machine: one layer a day, its colour what became of that day's backups, its depth how much they stored.

export interface DayOf {
  agent_id: string;
  day: string;
  succeeded: number;
  failed: number;
  cancelled: number;
  stored_bytes: number;
}

export type LayerKind = 'good' | 'mixed' | 'bad' | 'cancelled' | 'none' | 'before';

export interface Layer {
  day: string;
  kind: LayerKind;
  /** 1 to 4: by orders of magnitude of what was stored. */
  depth: number;
  of?: DayOf;
}

function kindOf(of: DayOf): LayerKind {
  if (of.failed > 0) return of.succeeded > 0 ? 'mixed' : 'bad';
  return of.succeeded > 0 ? 'good' : 'cancelled';
}

/** Below 16 MiB, 256 MiB, 4 GiB, and above: the same everywhere, so that machines can be compared. */
export function depthOf(storedBytes: number): number {
  return storedBytes < 2 ** 24 ? 1 : storedBytes < 2 ** 28 ? 2 : storedBytes < 2 ** 32 ? 3 : 4;
}

/** One layer for each day. Days before the machine came are told from days without a backup. */
export function layers(days: string[], items: DayOf[], agent: { id: string; created_at: string }): Layer[] {
  const own = new Map(items.filter((item) => item.agent_id === agent.id).map((item) => [item.day, item]));
  // A day earlier, since the day that it was made on may have another name in another zone.
  const since = new Date(new Date(agent.created_at).getTime() - 86_400_000).toISOString().slice(0, 10);
  return days.map((day) => {
    const of = own.get(day);
    if (of) return { day, kind: kindOf(of), depth: depthOf(of.stored_bytes), of };
    return { day, kind: day <= since ? 'before' : 'none', depth: 1 };
  });
}
