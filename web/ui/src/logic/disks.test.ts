import { expect, test } from 'vitest';
import { disks, shares } from './disks';

const device = (path: string, kind: string, on: string[], size_bytes: number) => ({
  path, kind, on, size_bytes, read_only: false, removable: false, mounts: [], in_all_disks: kind === 'disk',
});

test('widths are to scale, but nothing is too thin to see and nothing runs over', () => {
  expect(shares([50, 50], 100)).toEqual([0.5, 0.5]);
  expect(shares([25], 100)).toEqual([0.25]);
  const thin = shares([1, 1, 998], 1000);
  expect(thin[0]).toBeCloseTo(0.035);
  expect(thin.reduce((a, b) => a + b)).toBeCloseTo(1);
  const many = shares(Array.from({ length: 128 }, () => 1), 128);
  expect(many.reduce((a, b) => a + b)).toBeCloseTo(1);
  expect(many.every((share) => share > 0)).toBe(true);
  expect(shares([0], 0)[0]).toBeGreaterThan(0);
});

test('what lies on partitions is found through any number of layers, also where two partitions carry one volume', () => {
  const found = disks([
    device('/dev/sda', 'disk', [], 100), device('/dev/sda1', 'partition', ['/dev/sda'], 40), device('/dev/sda2', 'partition', ['/dev/sda'], 60),
    device('/dev/md0', 'mapped', ['/dev/sda1', '/dev/sda2'], 90), device('/dev/dm-0', 'mapped', ['/dev/md0'], 80), device('/dev/loop0', 'loop', [], 200),
  ]);
  expect(found.map((disk) => disk.device.path)).toEqual(['/dev/loop0', '/dev/sda']);
  expect(found[1]?.parts.map((part) => part.above.map((on) => on.path))).toEqual([['/dev/md0', '/dev/dm-0'], ['/dev/md0', '/dev/dm-0']]);
});
