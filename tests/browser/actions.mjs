// Each screen's main action, and what happens when it goes wrong.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { noComplaints, picture, settled, accessible } from './browser.mjs';

/** A plan of the laptop by the API. */
async function planOf(appliance, name, work, more = {}) {
  const { items } = await appliance.api('GET', '/api/v1/agents');
  const agent = items.find((one) => one.name === 'laptop');
  return appliance.api('POST', '/api/v1/plans', { name, agent_id: agent.id, work, retries: { count: 0, pause_s: 0 }, ...more });
}

export async function retriesAndFailures(story) {
  const { appliance, page } = story;
  story.broken = await planOf(appliance, 'gone-disk', { sources: { paths: [appliance.path('nothing.img')] } }, { when: { cron: '0 */6 * * *' } });
  await page.goto(`${appliance.url}/plans/${story.broken.id}`);
  await page.getByRole('button', { name: 'Back up now', exact: true }).click();
  await page.getByRole('region', { name: 'Why it failed' }).waitFor();
  await page.getByText('Failed', { exact: true }).first().waitFor();
  story.failedJob = page.url().split('/').pop();
  await settled(page);
  await picture(page, 'job-failed');
  await page.getByRole('button', { name: 'Try again', exact: true }).click();
  await page.getByText('2 of').first().waitFor();

  // One that is so slow that it can be ended.
  const slow = await planOf(appliance, 'slow', { sources: { paths: [story.disk.path] }, limit_bytes_per_s: 1 << 20 });
  await page.goto(`${appliance.url}/plans/${slow.id}`);
  await page.getByRole('button', { name: 'Back up now', exact: true }).click();
  await page.getByText('Running', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Cancel job', exact: true }).click();
  await page.getByText('Cancelled', { exact: true }).waitFor();
  await page.goto(`${appliance.url}/plans/${slow.id}`);
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await page.getByRole('button', { name: 'Go on', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  const dialog = page.getByRole('dialog');
  assert(await dialog.getByRole('button', { name: 'Remove', exact: true }).isDisabled(), 'its name has to be typed');
  await dialog.getByRole('textbox').fill('slow');
  await dialog.getByRole('button', { name: 'Remove', exact: true }).click();
  await page.waitForURL(/\/plans$/);
  noComplaints(page);
}

export async function conflict(story) {
  const { appliance, page, broken } = story;
  await page.goto(`${appliance.url}/plans/${broken.id}/edit`);
  await page.getByLabel('Days', { exact: true }).fill('5');
  await appliance.api('PATCH', `/api/v1/plans/${broken.id}`, { keep: { weekly: 3 } }, { 'if-match': `"${broken.revision}"` });
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('Somebody else changed this plan').waitFor();
  await settled(page);
  await accessible(page, 'a conflict');
  await picture(page, 'plan-conflict');
  await page.getByRole('button', { name: 'Show their version', exact: true }).click();
  await page.waitForFunction(() => [...document.querySelectorAll('input')].some((input) => input.value === '3'));
  await page.getByLabel('Months', { exact: true }).fill('2');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('button', { name: 'Back up now', exact: true }).waitFor();
  const { keep } = await appliance.api('GET', `/api/v1/plans/${broken.id}`);
  assert.deepEqual([keep.daily, keep.weekly, keep.monthly], [0, 3, 2]);
  noComplaints(page);
}

export async function tellsOfAlerts(story) {
  const { appliance, page } = story;
  const received = [];
  const webhook = createServer((request, answer) => {
    received.push(request.headers['icecore-signature']);
    answer.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(webhook, 'listening');
  await page.goto(`${appliance.url}/alerts`);
  await page.getByText('gone-disk').first().waitFor();
  await page.getByRole('button', { name: 'Add a channel', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Webhook').click();
  await dialog.getByLabel('Name').fill('ops');
  await dialog.getByLabel('Address').fill(`http://127.0.0.1:${webhook.address().port}/hook`);
  await accessible(page, 'a new channel');
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await dialog.getByText('This secret signs').waitFor();
  await dialog.getByRole('button', { name: 'Done', exact: true }).click();
  await page.getByRole('button', { name: 'Send a test', exact: true }).click();
  await page.getByText('The test was taken.').waitFor();
  assert(received.some((signature) => /^t=\d+,v1=[0-9a-f]{64}$/.test(signature)));
  webhook.closeAllConnections();
  webhook.close();
  noComplaints(page);
}
