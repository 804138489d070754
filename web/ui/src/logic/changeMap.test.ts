import { expect, test } from 'vitest';
import { depth, diskRows, runs, touched } from './changeMap';

const backup = (id: string, at: string, ...disks: [string, number, number[]][]) => ({
  id,
  at,
  disks: disks.map(([name, size_bytes, changed_percent]) => ({ name, size_bytes, changed_percent })),
});

test('each disk has its rows, the newest last and only so many', () => {
  const found = diskRows(
    [
      backup('c', '2026-03-03T00:00:00Z', ['sda', 10, [3]], ['nvme0', 5, [9]]),
      backup('a', '2026-03-01T00:00:00Z', ['sda', 10, [1]]),
      backup('b', '2026-03-02T00:00:00Z', ['sda', 10, [2]]),
    ],
    2,
  );
  expect(found.map((disk) => [disk.name, disk.rows.map((row) => row.id)])).toEqual([
    ['nvme0', ['c']],
    ['sda', ['b', 'c']],
  ]);
});

test('rows of a disk that grew begin anew', () => {
  const [disk] = diskRows([backup('a', '1', ['sda', 10, [1]]), backup('b', '2', ['sda', 20, [1]])], 9);
  expect(disk?.rows.map((row) => row.id)).toEqual(['b']);
});

test('the smallest change shows, and no change does not', () => {
  expect([0, 1, 4, 5, 24, 25, 74, 75, 100].map(depth)).toEqual([0, 1, 1, 2, 2, 3, 3, 4, 4]);
  expect(runs([0, 1, 2, 0, 0, 100, 100, 30])).toEqual([
    { from: 1, length: 2, depth: 1 },
    { from: 5, length: 2, depth: 4 },
    { from: 7, length: 1, depth: 3 },
  ]);
  expect(touched([0, 1, 0, 100])).toBe(2);
});
