import { expect, test } from 'vitest';
import { nearsEnd, windowed } from './windowed';

test('only what is seen and a little more is drawn, however long the list is', () => {
  expect(windowed(200, 900, 45, 10_000)).toEqual({ from: 0, to: 28 });
  const middle = windowed(-225_000, 900, 45, 10_000);
  expect(middle).toEqual({ from: 4988, to: 5032 });
  expect(middle.to - middle.from).toBeLessThan(60);
  expect(windowed(-450_000, 900, 45, 10_000)).toEqual({ from: 9988, to: 10_000 });
});

test('a list that became shorter than where somebody scrolled to draws nothing wrong', () => {
  expect(windowed(-100_000, 900, 45, 10)).toEqual({ from: 10, to: 10 });
  expect(windowed(0, 900, 45, 0)).toEqual({ from: 0, to: 0 });
  expect(windowed(5000, 900, 45, 100)).toEqual({ from: 0, to: 0 });
});

test('more is loaded before the end is seen', () => {
  expect(nearsEnd({ from: 0, to: 28 }, 200)).toBe(false);
  expect(nearsEnd({ from: 160, to: 190 }, 200)).toBe(true);
});
