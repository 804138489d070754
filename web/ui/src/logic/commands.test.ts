import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { curl, quoted } from './commands';

test('a shell reads back what was quoted, whatever it is', () => {
  for (const text of ['plain', "it's", '$HOME `id` "x" \\', 'a;b|c&d', 'ä\n€', '', '-rf *']) {
    expect(execFileSync('sh', ['-c', `printf %s ${quoted(text)}`]).toString()).toBe(text);
  }
});

test('a request names method, edit and body only where they are needed', () => {
  const origin = 'https://ice.example';
  expect(curl({ method: 'GET', path: '/api/v1/jobs?limit=5' }, origin)).toBe(
    'curl -H "authorization: Bearer $TOKEN" \'https://ice.example/api/v1/jobs?limit=5\'',
  );
  expect(curl({ method: 'POST', path: '/api/v1/plans/1/run' }, origin)).toContain('-X POST https://ice.example/api/v1/plans/1/run');
  const edit = curl({ method: 'PATCH', path: '/x', body: { name: "o'neil" }, ifMatch: 3 }, origin);
  expect(edit).toContain(`-X PATCH -H 'if-match: "3"'`);
  expect(edit).toContain(`-d '{"name":"o'\\''neil"}'`);
});
