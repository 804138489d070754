import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { filesBelow } from '../../build/compressed.ts';
import { de } from './de';
import { en } from './en';
import { enLater } from './enLater';

type Tree = { [key: string]: string | Tree };

function flat(words: Tree, before = ''): Map<string, string> {
  return new Map(
    Object.entries(words).flatMap(([key, value]) => (typeof value === 'string' ? [[before + key, value] as const] : [...flat(value, `${before}${key}.`)])),
  );
}

const english = flat({ ...en, ...enLater });
const german = flat(de);
const SOURCE = join(import.meta.dirname, '..');
const code = filesBelow(SOURCE)
  .filter((path) => /\.tsx?$/.test(path) && !path.includes('/i18n/') && !path.endsWith('.test.ts'))
  .map((path) => readFileSync(path, 'utf8'))
  .join('\n');
/** i18next chooses the form by the count. */
const isThere = (key: string) => english.has(key) || (english.has(`${key}_one`) && english.has(`${key}_other`));

test('every language has every text, with the same values in it', () => {
  expect([...german.keys()].sort()).toEqual([...english.keys()].sort());
  const values = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map((found) => found[1]).sort();
  // One of something may be said in words.
  for (const [key, text] of english) if (!key.endsWith('_one')) expect(values(german.get(key) ?? ''), key).toEqual(values(text));
  for (const [key, text] of [...english, ...german]) expect(text.trim(), key).not.toBe('');
});

test('the screens ask for no text that is not there', () => {
  const asked = [...code.matchAll(/\bt\(\s*'([\w.]+)'/g)].map((found) => found[1] ?? '');
  expect(asked.length).toBeGreaterThan(200);
  expect(asked.filter((key) => !isThere(key))).toEqual([]);
});

test('no text is there that nothing asks for', () => {
  const dynamic = [...code.matchAll(/`([\w.]+[._]?)\$\{[^}]*\}(\w*)`/g)].map((found) => [found[1] ?? '', found[2] ?? ''] as const);
  const plain = new Set([...code.matchAll(/'([\w]+(?:\.\w+)+)'/g)].map((found) => found[1] ?? ''));
  const isAsked = (key: string) => {
    const base = key.replace(/_(one|other)$/, '');
    return plain.has(key) || plain.has(base) || dynamic.some(([start, end]) => base.startsWith(start) && base.endsWith(end) && base.length > start.length + end.length);
  };
  expect([...english.keys()].filter((key) => !isAsked(key))).toEqual([]);
});
