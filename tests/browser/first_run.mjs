// Somebody opens the link that the server printed, and has a backup that restores.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { accessible, noComplaints, open, picture, settled } from './browser.mjs';

export const NAME = 'ada';
export const PASSWORD = 'correct horse battery';

export async function firstRun(story) {
  const { appliance, browser } = story;
  const page = await open(browser);
  story.page = page;
  await account(page, appliance);
  await token(page, appliance);
  await repository(page, appliance);
  await machine(page, appliance);
  await plan(page, story);
  await watch(page, story);
  await kit(page, appliance);
  await page.goto(appliance.url);
  await page.getByText('The machine has a recent backup.').waitFor();
  assert.equal(await page.getByText('First steps').count(), 0, 'nothing is left to do');
  await settled(page);
  await picture(page, 'first-run-6-done');
  noComplaints(page);
}

async function account(page, appliance) {
  await page.goto(appliance.link);
  await page.getByRole('heading', { name: 'Make the first account' }).waitFor();
  assert(!page.url().includes('icl_'), 'the secret leaves the address line');
  await accessible(page, 'the first link');
  await picture(page, 'first-run-1-account');
  await page.getByLabel('Name').fill(NAME);
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByLabel('The password again').fill(PASSWORD);
  await page.getByRole('button', { name: 'Begin', exact: true }).click();
  await page.getByText('First steps').waitFor();
  await settled(page);
  await accessible(page, 'an empty overview');
  await picture(page, 'first-run-2-empty');
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((key) => !['icecore.language', 'mantine-color-scheme-value'].includes(key))), []);
}

/** For what tests do beside the page. */
async function token(page, appliance) {
  appliance.token = await page.evaluate(async () => {
    const session = await (await fetch('/api/v1/session')).json();
    const body = { name: 'tests', rights: session.rights, expires_at: new Date(Date.now() + 86_400_000).toISOString() };
    const made = await fetch('/api/v1/tokens', {
      method: 'POST', headers: { 'content-type': 'application/json', 'x-csrf-token': session.csrf_token }, body: JSON.stringify(body),
    });
    return (await made.json()).secret;
  });
  assert(appliance.token?.startsWith('ict_'));
}

async function repository(page, appliance) {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Directory').fill(appliance.path('repository'));
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await dialog.getByText('There is no repository that this server can use').waitFor();
  await accessible(page, 'a repository that is not there');
  await appliance.icecore('init');
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByText('Kit not confirmed').waitFor();
}

async function machine(page, appliance) {
  await page.goto(appliance.url);
  await page.getByRole('link', { name: 'Add machine' }).first().click();
  await page.getByRole('button', { name: 'Make the line', exact: true }).click();
  const line = await page.locator('pre', { hasText: 'icecore agent enroll' }).innerText();
  await settled(page);
  await accessible(page, 'waiting for a machine');
  await picture(page, 'first-run-3-machine');
  await appliance.enrol(line, 'laptop');
  // Nobody loads the page again: the event does.
  await page.getByText('laptop is here').waitFor();
  appliance.runAgent('laptop');
  await page.getByRole('link', { name: 'Make a plan for it' }).click();
}

async function plan(page, story) {
  story.disk = await story.appliance.disk('disk.img', 48);
  await page.getByRole('button', { name: 'Make plan', exact: true }).click();
  await page.getByText('Choose at least one disk').first().waitFor();
  await page.getByLabel('Something else').fill(story.disk.path);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByLabel('Read at most').fill('12');
  assert.equal(await page.getByLabel('Name of the plan').inputValue(), 'laptop');
  await page.getByText('In a year there are').waitFor();
  await settled(page);
  await accessible(page, 'a plan that is being written');
  await picture(page, 'first-run-4-plan');
  await page.getByRole('button', { name: 'Make plan', exact: true }).click();
  await page.getByRole('button', { name: 'Back up now', exact: true }).waitFor();
}

async function watch(page, story) {
  await page.getByRole('button', { name: 'Back up now', exact: true }).click();
  await page.waitForURL(/\/jobs\//);
  story.job = page.url().split('/').pop();
  // Live: the bar is seen on its way.
  await page.waitForFunction(() => {
    const shares = [...document.querySelectorAll('[role=progressbar][aria-valuenow]')].map((bar) => Number(bar.getAttribute('aria-valuenow')));
    return shares.some((share) => share > 0 && share < 100);
  });
  await accessible(page, 'a job that runs');
  await picture(page, 'first-run-5-live');
  await page.getByText('Succeeded').waitFor();
  await page.getByText('Size of the disks').waitFor();
  const { result } = await story.appliance.api('GET', `/api/v1/jobs/${story.job}`);
  const restored = story.appliance.path('restored.img');
  await story.appliance.icecore('restore', result.point, '--to', restored);
  assert(readFileSync(restored).equals(story.disk.bytes), 'what is restored is what was backed up');
}

async function kit(page, appliance) {
  await page.goto(`${appliance.url}/repositories`);
  await page.getByLabel('Last six digits').fill('000000');
  await page.getByRole('button', { name: 'The kit is in a safe place', exact: true }).click();
  await page.getByText('This is not on the recovery kit').waitFor();
  const file = appliance.path('kit.txt');
  await appliance.icecore('key', 'recovery-export', '--out', file);
  const digits = /repository: (\S+)/.exec(readFileSync(file, 'utf8'))[1].slice(-6);
  await page.getByLabel('Last six digits').fill(digits);
  await page.getByRole('button', { name: 'The kit is in a safe place', exact: true }).click();
  await page.getByText('Kit safe').waitFor();
}
