import { expect, test } from 'vitest';
import { machineVerdict, verdict } from './verdict';

const NOW = new Date('2026-11-29T12:00:00Z');
const plan = (more: object) => ({
  id: 'p', name: 'p', agent_id: 'a', when: { cron: '0 2 * * *', zone: 'UTC' }, paused: false, created_at: '2026-01-01T00:00:00Z', ...more,
});
const GOOD = { last_good_at: '2026-11-29T02:10:00Z' };
const OLD = { last_good_at: '2026-11-20T02:10:00Z' };

test('a machine is as safe as its worst plan', () => {
  const state = (...plans: object[]) => machineVerdict({ id: 'a' }, plans.map(plan), NOW).state;
  expect(state(GOOD)).toBe('kept');
  expect(state(GOOD, OLD)).toBe('late');
  expect(state(GOOD, { ...OLD, paused: true })).toBe('paused');
  expect(state()).toBe('unplanned');
  expect(state({ ...GOOD, agent_id: 'b' })).toBe('unplanned');
  expect(machineVerdict({ id: 'a' }, [plan(OLD), plan(GOOD)], NOW).lastGoodAt).toBe(GOOD.last_good_at);
});

test('the whole is only good when every machine is and every recovery kit is safe', () => {
  const of = (...states: ('kept' | 'late' | 'waiting' | 'unplanned')[]) => states.map((state) => ({ state }));
  expect(verdict(of('kept', 'kept'), 0).tone).toBe('good');
  expect(verdict(of('kept'), 1).tone).toBe('bad');
  expect(verdict(of('kept', 'unplanned'), 0).tone).toBe('late');
  expect(verdict(of('kept', 'late', 'unplanned'), 0)).toEqual({ tone: 'bad', late: 1, unplanned: 1, waiting: 0, all: 3 });
  expect(verdict([], 0).tone).toBe('none');
});
