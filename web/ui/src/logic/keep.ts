// Which recovery points a plan's rules would keep, worked out for a plan that is still being written. The server decides
// (`GET /api/v1/plans/{id}/retention`, web/src/retention.rs); the rules are the same: the last point of each period that has one.

export interface Keep {
  last: number;
  hourly: number;
  daily: number;
  weekly: number;
  monthly: number;
  quarterly: number;
  yearly: number;
  minimum: number;
  within?: string | null;
}

export type Period = 'hourly' | 'daily' | 'weekly' | 'monthly' | 'quarterly' | 'yearly';
export const PERIODS: Period[] = ['hourly', 'daily', 'weekly', 'monthly', 'quarterly', 'yearly'];

export const NOTHING: Keep = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, quarterly: 0, yearly: 0, minimum: 0 };
/** What a new plan begins with: every day of two weeks, two months of weeks, a year of months. */
export const SENSIBLE: Keep = { ...NOTHING, daily: 14, weekly: 8, monthly: 12, minimum: 3 };

export function hasRule(keep: Keep): boolean {
  return keep.last > 0 || PERIODS.some((period) => keep[period] > 0) || Boolean(keep.within);
}

/** The clock on the wall in a zone, as numbers. */
function wallClock(zone: string): (at: Date) => [number, number, number, number] {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit',
  });
  return (at) => {
    const [day = 0, month = 0, year = 0, hour = 0] = (format.format(at).match(/\d+/g) ?? []).map(Number);
    return [year, month, day, hour];
  };
}

/** Year and number of the ISO week that a date is in. */
export function isoWeek(year: number, month: number, day: number): string {
  const date = new Date(Date.UTC(year, month - 1, day));
  // The week belongs to the year of its Thursday.
  date.setUTCDate(date.getUTCDate() + 3 - ((date.getUTCDay() + 6) % 7));
  const first = Date.UTC(date.getUTCFullYear(), 0, 1);
  return `${date.getUTCFullYear()}-W${1 + Math.floor((date.getTime() - first) / (7 * 86_400_000))}`;
}

function labels([year, month, day, hour]: [number, number, number, number]): Record<Period, string> {
  return {
    hourly: `${year}-${month}-${day} ${hour}`,
    daily: `${year}-${month}-${day}`,
    weekly: isoWeek(year, month, day),
    monthly: `${year}-${month}`,
    quarterly: `${year}-Q${Math.ceil(month / 3)}`,
    yearly: `${year}`,
  };
}

/** Start of `36h`, `14d`, `6m`, `1y6m` before a time; undefined when it is none of these. */
export function withinStart(within: string, now: Date): Date | undefined {
  if (!/^(\d+[hdwmy])+$/.test(within)) return undefined;
  const start = new Date(now);
  for (const [, count, unit] of within.matchAll(/(\d+)([hdwmy])/g)) {
    const n = Number(count);
    if (unit === 'h') start.setTime(start.getTime() - n * 3_600_000);
    if (unit === 'd') start.setUTCDate(start.getUTCDate() - n);
    if (unit === 'w') start.setUTCDate(start.getUTCDate() - 7 * n);
    if (unit === 'm') start.setUTCMonth(start.getUTCMonth() - n);
    if (unit === 'y') start.setUTCFullYear(start.getUTCFullYear() - n);
  }
  return start;
}

/** The points that stay, the newest first. `points` are in the order of time. */
export function kept(points: Date[], keep: Keep, now: Date, zone: string): Date[] {
  const newestFirst = points.filter((at) => at <= now).reverse();
  if (!hasRule(keep)) return newestFirst;
  const clock = wallClock(zone);
  const seen = Object.fromEntries(PERIODS.map((period) => [period, new Set<string>()])) as Record<Period, Set<string>>;
  const start = keep.within ? withinStart(keep.within, now) : undefined;
  return newestFirst.filter((at, place) => {
    let stays = place < Math.max(1, keep.minimum, keep.last) || (start !== undefined && at >= start);
    const label = labels(clock(at));
    for (const period of PERIODS) {
      if (seen[period].size < keep[period] && !seen[period].has(label[period])) {
        seen[period].add(label[period]);
        stays = true;
      }
    }
    return stays;
  });
}
