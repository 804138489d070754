import { expect, test } from 'vitest';
import { cronOf, promised, rhythmOf, runs, runsBetween } from './schedule';

const NOW = new Date('2026-11-29T12:00:00Z');
const HOUR = 3_600_000;

test('expressions that were made of a form are read back as that form, others stay as they are', () => {
  for (const cron of ['30 2 * * *', '0 * * * *', '15 */6 * * *', '0 22 * * 1,3,5', '5 4 1 * *', '0 30 2 * * *', '*/10 * * * *', '0 5 * * 7']) {
    expect(cronOf(rhythmOf(cron))).toBe(cron);
  }
  expect(rhythmOf('30 2 * * *')).toEqual({ kind: 'daily', at: '02:30' });
  expect(rhythmOf('15 */6 * * *')).toEqual({ kind: 'hours', every: 6, minute: 15 });
  expect(rhythmOf('*/10 * * * *').kind).toBe('cron');
  expect(rhythmOf(undefined)).toEqual({ kind: 'asked' });
});

test('runs are in the zone of the plan, and nonsense makes none', () => {
  expect(runs('30 2 * * *', 'Europe/Berlin', NOW, 1)[0]?.toISOString()).toBe('2026-11-30T01:30:00.000Z');
  for (const [cron, zone] of [['61 * * * *', 'UTC'], ['hello', 'UTC'], ['0 0 * * *', 'Europe/Nowhere']] as const) {
    expect(runs(cron, zone, NOW, 3)).toEqual([]);
    expect(runsBetween(cron, zone, NOW, new Date(NOW.getTime() + HOUR))).toEqual([]);
  }
  expect(runsBetween('0 * * * *', 'UTC', NOW, new Date(NOW.getTime() + 24 * HOUR))).toHaveLength(24);
});

test('a promise is the longest gap between runs and a grace', () => {
  const plan = (more: object) => ({ when: { cron: '0 2 * * *', zone: 'UTC' }, paused: false, created_at: '2026-01-01T00:00:00Z', ...more });
  const ago = (hours: number) => new Date(NOW.getTime() - hours * HOUR).toISOString();
  expect(promised(plan({ last_good_at: ago(26) }), NOW).kind).toBe('kept');
  expect(promised(plan({ last_good_at: ago(27) }), NOW).kind).toBe('late');
  expect(promised(plan({}), NOW).kind).toBe('late');
  expect(promised(plan({ created_at: ago(2) }), NOW).kind).toBe('waiting');
  expect(promised(plan({ paused: true, last_good_at: ago(99) }), NOW).kind).toBe('paused');
  expect(promised(plan({ when: {} }), NOW).kind).toBe('none');
  const weekdays = promised(plan({ when: { cron: '0 2 * * 1-5', zone: 'UTC' }, last_good_at: ago(70) }), NOW);
  expect(weekdays.kind).toBe('kept');
});
