// The server goes and comes back while somebody looks.
import assert from 'node:assert/strict';
import { open, picture } from './browser.mjs';
import { NAME, PASSWORD } from './first_run.mjs';

export async function comesBack(story) {
  const { appliance, browser } = story;
  const page = await open(browser);
  await page.goto(`${appliance.url}/plans`);
  await page.getByLabel('Name').fill(NAME);
  await page.locator('input[type=password]').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await page.getByRole('heading', { name: 'Plans', exact: true, level: 1 }).waitFor();
  await page.getByRole('img', { name: 'Live' }).first().waitFor();
  assert.equal(new URL(page.url()).pathname, '/plans', 'the log-in leads to where one wanted to go');
  await appliance.stopServer();
  await page.getByText('What you see may be old').waitFor();
  assert(await page.getByRole('cell', { name: 'laptop' }).count() > 0, 'what was there stays on the screen');
  await picture(page, 'not-connected');
  await appliance.startServer();
  const { items } = await appliance.api('GET', '/api/v1/agents');
  const agent = items.find((one) => one.name === 'laptop');
  await appliance.api('POST', '/api/v1/plans', { name: 'made-meanwhile', agent_id: agent.id, work: { sources: 'all_disks' } });
  await page.getByRole('link', { name: 'made-meanwhile' }).waitFor({ timeout: 60_000 });
  await page.getByRole('img', { name: 'Live' }).first().waitFor();
  await page.context().close();
}
