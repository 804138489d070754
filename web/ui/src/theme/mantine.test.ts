import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { filesBelow } from '../../build/compressed.ts';
import { variablesCss } from '../../build/mantineVariables.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(path, 'utf8');

test('every Mantine component that is used has its style sheet', () => {
  const imported = read(join(import.meta.dirname, 'mantine.ts'));
  const used = filesBelow(join(ROOT, 'src'))
    .filter((path) => path.endsWith('.tsx'))
    .flatMap((path) => [...read(path).matchAll(/import \{([^}]*)\} from '@mantine\/core'/g)].flatMap((found) => (found[1] ?? '').split(',')))
    .map((name) => name.trim());
  expect(used.length).toBeGreaterThan(20);
  const withStyles = [...new Set(used)].filter((name) => existsSync(join(ROOT, `node_modules/@mantine/core/styles/${name}.css`)));
  expect(withStyles.filter((name) => !imported.includes(`/${name}.css`))).toEqual([]);
});

test('the theme becomes a style sheet with the variables of both schemes', () => {
  const css = variablesCss();
  for (const part of ['--mantine-color-ice-7', ":root[data-mantine-color-scheme=\"dark\"]", '--mantine-primary-color-filled', '--mantine-color-scheme: dark', '--mantine-spacing-md']) {
    expect(css.replaceAll("'", '"')).toContain(part);
  }
});
