import { expect, test } from 'vitest';
import { bytes, duration, relative } from './units';

test('sizes have three digits and the next unit before a fourth appears', () => {
  const cases: [number, string][] = [
    [0, '0 B'], [1023, '1,023 B'], [1536, '1.5 KiB'], [10_240, '10 KiB'], [1_048_575, '1 MiB'], [5.25 * 2 ** 30, '5.25 GiB'], [2 ** 60 * 3, '3,072 PiB'],
  ];
  for (const [count, text] of cases) expect(bytes(count)).toBe(text);
  expect(bytes(1536, 'de')).toBe('1,5 KiB');
});

test('times are told from here, in the language of the reader', () => {
  const now = new Date('2026-11-29T12:00:00Z');
  const at = (text: string) => relative(new Date(text), now);
  expect(at('2026-11-29T11:59:30Z')).toBe('now');
  expect(at('2026-11-29T11:55:00Z')).toBe('5 minutes ago');
  expect(at('2026-11-29T09:00:00Z')).toBe('3 hours ago');
  expect(at('2026-11-28T09:00:00Z')).toBe('27 hours ago');
  expect(at('2026-11-26T12:00:00Z')).toBe('3 days ago');
  expect(at('2026-11-29T14:00:00Z')).toBe('in 2 hours');
  expect(relative(new Date('2026-11-26T12:00:00Z'), now, 'de')).toBe('vor 3 Tagen');
});

test('durations have two units at most', () => {
  const cases: [number, string][] = [
    [0, '0 ms'], [450, '450 ms'], [59_400, '59 s'], [62_000, '1 min 2 s'], [3_725_000, '1 h 2 min'], [7_200_000, '2 h'], [180_000_000, '2 d 2 h'],
  ];
  for (const [ms, text] of cases) expect(duration(ms)).toBe(text);
});
