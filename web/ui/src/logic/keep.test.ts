import { expect, test } from 'vitest';
import { isoWeek, kept, NOTHING, SENSIBLE, withinStart } from './keep';

const HOUR = 3_600_000;
const END = new Date('2026-11-29T12:00:00Z');

function every(hours: number, count: number): Date[] {
  return Array.from({ length: count }, (_, at) => new Date(END.getTime() - (count - 1 - at) * hours * HOUR));
}

test('of each period the last point stays, as often as the rule says', () => {
  const hourly = every(1, 24 * 30);
  const daily = kept(hourly, { ...NOTHING, daily: 7 }, END, 'UTC');
  expect(daily).toHaveLength(7);
  expect(daily[0]).toEqual(END);
  expect(daily.slice(1).every((at) => at.getUTCHours() === 23)).toBe(true);
});

test('days are those of the zone', () => {
  const days = kept(every(1, 48), { ...NOTHING, daily: 2 }, END, 'Asia/Tokyo');
  expect(days.map((at) => at.toISOString())).toEqual(['2026-11-29T12:00:00.000Z', '2026-11-28T14:00:00.000Z']);
});

test('rules only add to each other', () => {
  const points = every(24, 800);
  const all = new Set(kept(points, SENSIBLE, END, 'Europe/Berlin').map(Number));
  for (const rule of ['daily', 'weekly', 'monthly'] as const) {
    for (const at of kept(points, { ...NOTHING, [rule]: SENSIBLE[rule] }, END, 'Europe/Berlin')) expect(all.has(Number(at))).toBe(true);
  }
  expect(all.size).toBeLessThanOrEqual(14 + 8 + 12);
});

test('the newest stays always, and without any rule everything does', () => {
  expect(kept(every(24, 5), { ...NOTHING, yearly: 1 }, END, 'UTC')).toHaveLength(1);
  expect(kept(every(24, 5), { ...NOTHING, yearly: 1, minimum: 3 }, END, 'UTC')).toHaveLength(3);
  expect(kept(every(24, 5), NOTHING, END, 'UTC')).toHaveLength(5);
  expect(kept([], SENSIBLE, END, 'UTC')).toEqual([]);
});

test('weeks are ISO weeks', () => {
  expect(isoWeek(2026, 1, 1)).toBe('2026-W1');
  expect(isoWeek(2027, 1, 1)).toBe('2026-W53');
  expect(isoWeek(2024, 12, 30)).toBe('2025-W1');
});

test('spans are read as the command line reads them', () => {
  expect(withinStart('36h', END)?.toISOString()).toBe('2026-11-28T00:00:00.000Z');
  expect(withinStart('1y6m', END)?.toISOString()).toBe('2025-05-29T12:00:00.000Z');
  for (const wrong of ['', 'd', '7', '7x', '7 d']) expect(withinStart(wrong, END)).toBeUndefined();
});
