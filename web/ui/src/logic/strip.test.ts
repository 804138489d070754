import { expect, test } from 'vitest';
import { depthOf, layers } from './strip';

const day = (name: string, succeeded: number, failed: number, cancelled = 0) => ({ agent_id: 'a', day: name, succeeded, failed, cancelled, stored_bytes: 5 });

test('a day is as bad as the worst that happened on it, and what is not there is no success', () => {
  const days = ['2026-11-24', '2026-11-25', '2026-11-26', '2026-11-27', '2026-11-28', '2026-11-29'];
  const items = [day('2026-11-26', 2, 0), day('2026-11-27', 1, 1), day('2026-11-28', 0, 3), day('2026-11-29', 0, 0, 1), { ...day('2026-11-25', 9, 0), agent_id: 'b' }];
  const kinds = layers(days, items, { id: 'a', created_at: '2026-11-25T10:00:00Z' }).map((layer) => layer.kind);
  expect(kinds).toEqual(['before', 'none', 'good', 'mixed', 'bad', 'cancelled']);
});

test('depth grows with what was stored', () => {
  expect([0, 2 ** 24, 2 ** 28, 2 ** 32, 2 ** 50].map(depthOf)).toEqual([1, 2, 3, 4, 4]);
});
