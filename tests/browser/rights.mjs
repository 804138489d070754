// What a role does not include is not on the screen, and the server refuses it whatever is on the screen.
import assert from 'node:assert/strict';
import { noComplaints, settled } from './browser.mjs';
import { urls } from './screens.mjs';

const CHANGES = [
  'Restore', 'Download', 'Give up', 'Take back', 'Verify now', 'Check now', 'What would be freed', 'Dry run', 'Compare with the point',
  'Add machine', 'Make a plan', 'Make plan', 'Back up now', 'Edit', 'Pause', 'Remove', 'Revoke', 'Limits', 'Cancel job', 'Try again', 'Add a repository', 'Add a channel', 'Send a test', 'Add a person', 'Save', 'The kit is in a safe place',
];

export async function viewerChangesNothing(story) {
  const { appliance, viewer: page } = story;
  const all = await urls(appliance, story);
  for (const name of ['overview', 'machines', 'machine', 'plans', 'plan', 'jobs', 'job', 'job-failure', 'job-restore', 'points', 'point', 'files', 'restore-point', 'repositories', 'alerts', 'settings']) {
    await page.goto(appliance.url + all[name]);
    await settled(page);
    // There the word is the name of a kind of jobs; elsewhere, what leads to a job that was is none.
    const noJob = page.locator(':not([href^="/jobs/"])');
    for (const change of CHANGES.filter((change) => change !== 'Restore' || name !== 'jobs')) {
      for (const role of ['button', 'link']) {
        assert.equal(await page.getByRole(role, { name: change, exact: true }).and(noJob).count(), 0, `${change} on ${name}`);
      }
    }
  }
  assert.equal(await page.getByRole('link', { name: 'Security' }).count(), 0);
  const plan = all.plan.split('/').pop();
  const machine = all.machine.split('/').pop();
  const refused = await page.evaluate(
    async ([plan, machine, job, point]) => {
      const { csrf_token } = await (await fetch('/api/v1/session')).json();
      const ask = async (method, path, body) => {
        const headers = { 'x-csrf-token': csrf_token, 'content-type': 'application/json', 'if-match': '"1"' };
        return (await fetch(path, { method, headers, body: body && JSON.stringify(body) })).status;
      };
      return Promise.all([
        ask('POST', `/api/v1/plans/${plan}/run`), ask('DELETE', `/api/v1/plans/${plan}`), ask('PATCH', `/api/v1/plans/${plan}`, {}), ask('POST', `/api/v1/agents/${machine}/revoke`),
        ask('POST', `/api/v1/jobs/${job}/cancel`), ask('POST', '/api/v1/enrolments', { repository: 'main' }), ask('GET', '/api/v1/users'), ask('GET', '/api/v1/audit'), ask('PATCH', '/api/v1/settings', {}), ask('GET', '/api/v1/alert-channels'),
        ask('POST', '/api/v1/restores', { point, target: '/srv/x.img' }), ask('POST', `/api/v1/recovery-points/${point}/forget`, {}), ask('GET', `/api/v1/recovery-points/${point}/files?path=/`), ask('GET', `/api/v1/recovery-points/${point}/content?path=/etc/hostname`), ask('POST', `/api/v1/recovery-points/${point}/undo`), ask('POST', '/api/v1/repositories/main/verify', {}),
      ]);
    },
    [plan, machine, story.job, story.point],
  );
  assert.deepEqual(refused, Array(16).fill(403));
  noComplaints(page);
}
