// What a role does not include is not on the screen, and the server refuses it whatever is on the screen.
import assert from 'node:assert/strict';
import { noComplaints, settled } from './browser.mjs';
import { urls } from './screens.mjs';

const CHANGES = [
  'Add machine', 'Make a plan', 'Make plan', 'Back up now', 'Edit', 'Pause', 'Remove', 'Revoke', 'Limits', 'Cancel job', 'Try again', 'Add a repository', 'Add a channel', 'Send a test', 'Add a person', 'Save', 'The kit is in a safe place',
];

export async function viewerChangesNothing(story) {
  const { appliance, viewer: page } = story;
  const all = await urls(appliance, story);
  for (const name of ['overview', 'machines', 'machine', 'plans', 'plan', 'jobs', 'job', 'job-failure', 'repositories', 'alerts', 'settings']) {
    await page.goto(appliance.url + all[name]);
    await settled(page);
    for (const change of CHANGES) {
      for (const role of ['button', 'link']) {
        assert.equal(await page.getByRole(role, { name: change, exact: true }).count(), 0, `${change} on ${name}`);
      }
    }
  }
  assert.equal(await page.getByRole('link', { name: 'Security' }).count(), 0);
  const plan = all.plan.split('/').pop();
  const machine = all.machine.split('/').pop();
  const refused = await page.evaluate(
    async ([plan, machine, job]) => {
      const { csrf_token } = await (await fetch('/api/v1/session')).json();
      const ask = async (method, path, body) => {
        const headers = { 'x-csrf-token': csrf_token, 'content-type': 'application/json', 'if-match': '"1"' };
        return (await fetch(path, { method, headers, body: body && JSON.stringify(body) })).status;
      };
      return Promise.all([
        ask('POST', `/api/v1/plans/${plan}/run`), ask('DELETE', `/api/v1/plans/${plan}`), ask('PATCH', `/api/v1/plans/${plan}`, {}), ask('POST', `/api/v1/agents/${machine}/revoke`),
        ask('POST', `/api/v1/jobs/${job}/cancel`), ask('POST', '/api/v1/enrolments', { repository: 'main' }), ask('GET', '/api/v1/users'), ask('GET', '/api/v1/audit'), ask('PATCH', '/api/v1/settings', {}), ask('GET', '/api/v1/alert-channels'),
      ]);
    },
    [plan, machine, story.job],
  );
  assert.deepEqual(refused, Array(10).fill(403));
  noComplaints(page);
}
