import { expect, test } from 'vitest';
import { bodyOf, draftOf, missing, nameFor, newDraft } from './planDraft';

const PLAN = {
  name: 'web', agent_id: 'a',
  work: { sources: { paths: ['/dev/sda'] }, hooks: { run: false }, exclude_partitions: [2], allow_live: false, used_blocks_only: false, limit_bytes_per_s: null },
  when: { cron: '30 2 * * *', zone: 'Europe/Berlin', blackouts: [{ days: ['saturday'], from: '22:00', until: '06:00' }], jitter_s: 900, catch_up: true },
  keep: { last: 0, hourly: 0, daily: 14, weekly: 8, monthly: 12, quarterly: 0, yearly: 0, within: null, minimum: 0 },
  retries: { count: 3, pause_s: 60 },
};

test('a plan that is opened and saved is the same plan, with what the form does not show', () => {
  expect(bodyOf(draftOf(PLAN), PLAN)).toEqual(PLAN);
});

test('a new plan asks for machine, disks and name, and has sensible times and rules', () => {
  const draft = newDraft('', 'Europe/Berlin');
  expect(missing(draft)).toEqual(['machine', 'disks', 'name']);
  const whole = { ...draft, agentId: 'a', allDisks: true, name: 'web' };
  expect(missing(whole)).toEqual([]);
  expect(bodyOf(whole).when).toMatchObject({ cron: '0 2 * * *', zone: 'Europe/Berlin', jitter_s: 900 });
  expect(missing({ ...whole, name: 'Web' })).toEqual(['name']);
  expect(missing({ ...whole, rhythm: { kind: 'weekly', days: [], at: '02:00' } })).toEqual(['days']);
  expect(missing({ ...whole, allDisks: false, paths: ['sda'] })).toEqual(['path']);
});

test('names are made of machines and never taken', () => {
  expect(nameFor('Büro PC', [])).toBe('b-ro-pc');
  expect(nameFor('web', ['web', 'web-2'])).toBe('web-3');
  expect(nameFor('___', [])).toBe('machine');
});
