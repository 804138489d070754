// How a recovery point is: what its keeper proved of it, and whether somebody gave it up.

export interface PointFacts {
  proved_since?: string | null;
  verified_at?: string | null;
  flaw?: string | null;
  suspect: boolean;
  forgotten_at?: string | null;
  gone_at?: string | null;
}

export type PointState = 'gone' | 'forgotten' | 'flawed' | 'suspect' | 'proved' | 'unproved';

/** The worst that is known of it. */
export function pointState(point: PointFacts): PointState {
  if (point.gone_at) return 'gone';
  if (point.forgotten_at) return 'forgotten';
  if (point.flaw) return 'flawed';
  if (point.suspect) return 'suspect';
  return point.proved_since ? 'proved' : 'unproved';
}

/** Whether it can be restored as far as anybody knows. */
export function isThere(point: PointFacts): boolean {
  return !point.gone_at;
}

/** The newest point that was proved whole, of a list with the newest first. */
export function newestProved<P extends PointFacts>(points: P[]): P | undefined {
  return points.find((point) => pointState(point) === 'proved');
}

/** As the command line takes ids: enough digits to be the only one. */
export function short(id: string): string {
  return id.slice(0, 12);
}
