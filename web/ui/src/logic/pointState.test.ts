import { expect, test } from 'vitest';
import { newestProved, pointState } from './pointState';

const plain = { suspect: false };
const proved = { suspect: false, proved_since: '2026-11-01T00:00:00Z' };

test('the worst that is known of a point is what it is called', () => {
  expect(pointState(plain)).toBe('unproved');
  expect(pointState(proved)).toBe('proved');
  expect(pointState({ ...proved, suspect: true })).toBe('suspect');
  expect(pointState({ ...proved, suspect: true, flaw: 'a pack is gone' })).toBe('flawed');
  expect(pointState({ ...proved, forgotten_at: '2026-11-02T00:00:00Z', flaw: 'x' })).toBe('forgotten');
  expect(pointState({ ...proved, gone_at: '2026-11-03T00:00:00Z', forgotten_at: '2026-11-02T00:00:00Z' })).toBe('gone');
});

test('what may lack something is not the newest proved point', () => {
  expect(newestProved([plain, { ...proved, suspect: true }, proved])).toBe(proved);
  expect(newestProved([plain])).toBeUndefined();
});
