import { expect, test } from 'vitest';
import { strength } from './password';

test('length makes a password strong, repetition does not', () => {
  expect(strength('short')).toBe(0);
  expect(strength('aaaaaaaaaaaaaaaaaaaaaaaa')).toBe(1);
  expect(strength('abcabcabcabcabcabc')).toBe(1);
  expect(strength('mountainside')).toBeLessThanOrEqual(2);
  expect(strength('correct horse battery')).toBeGreaterThanOrEqual(3);
  expect(strength('correct horse battery staple of 1990')).toBe(4);
});
