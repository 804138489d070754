// Recovery points: found, proved, restored by the wizard and compared; given up and taken back; and a very long list of them.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { accessible, launch, noComplaints, open, picture, settled } from './browser.mjs';

export async function restore(story) {
  const { appliance, page } = story;
  await appliance.keep();
  await page.goto(`${appliance.url}/points`);
  // Nobody asks for it: the keeper comes, and proves what is there.
  await page.getByText('Proved whole').waitFor();
  await page.getByRole('link', { name: 'laptop #1' }).click();
  await page.waitForURL(/\/points\/[0-9a-f]{64}$/);
  story.point = page.url().split('/').pop();
  await page.getByText(story.disk.path).waitFor();
  await page.getByRole('link', { name: 'Restore', exact: true }).click();
  await notAllowed(page);
  await elsewhere(page);
  const target = appliance.path('restores/disk.img');
  await page.getByLabel('To', { exact: true }).fill(target);
  await page.getByRole('button', { name: 'Dry run', exact: true }).click();
  await page.getByText('It would work').waitFor();
  await settled(page);
  await accessible(page, 'a dry run');
  await picture(page, 'restore-dry-run');
  assert(!existsSync(target), 'a dry run writes nothing');
  await page.getByRole('button', { name: 'Restore', exact: true }).click();
  await page.waitForURL(/\/jobs\//);
  story.restoreJob = page.url().split('/').pop();
  await page.getByText('Succeeded', { exact: true }).waitFor();
  assert(readFileSync(target).equals(story.disk.bytes), 'what is restored is what was backed up');
  await page.getByRole('button', { name: 'Compare with the point', exact: true }).click();
  await page.getByText('Identical').waitFor();
  await destroying(story, target);
  const { items } = await appliance.api('GET', '/api/v1/jobs?kind=verify&state=succeeded');
  story.verifyJob = items[0].id;
  noComplaints(page);
}

/** The keeper says where it may write; the page says so before anything is written. */
async function notAllowed(page) {
  await page.getByLabel('To', { exact: true }).fill('/etc/nothing.img');
  await page.getByRole('button', { name: 'Dry run', exact: true }).click();
  await page.getByText('is no place to restore to here').waitFor();
  await page.getByText('It would work').waitFor({ state: 'detached' });
}

/** Another machine may write it where two command lines say so; the page shows both, and a dry run tells which one does not. */
async function elsewhere(page) {
  const machine = page.getByRole('combobox', { name: 'Written by' });
  await machine.click();
  await page.getByRole('option', { name: 'laptop', exact: true }).click();
  await page.getByText('icecore agent run --pass-to').waitFor();
  assert(page.url().includes('agent='), 'what is chosen is in the URL');
  await page.getByRole('button', { name: /^Dry run/ }).first().click();
  await page.getByText('allowed nowhere').waitFor();
  await settled(page);
  await accessible(page, 'a restore onto another machine');
  await picture(page, 'restore-elsewhere');
  await machine.click();
  await page.getByRole('option', { name: 'laptop', exact: true }).click();
  await page.getByText('icecore agent run --pass-to').waitFor({ state: 'detached' });
}

/** What would be lost is typed. */
async function destroying({ page, appliance, point }, target) {
  const query = new URLSearchParams({ point, target, overwrite: '' });
  await page.goto(`${appliance.url}/restore?${query}`);
  await page.getByRole('button', { name: 'Restore', exact: true }).click();
  const dialog = page.getByRole('dialog');
  assert(await dialog.getByRole('button', { name: 'Restore', exact: true }).isDisabled(), 'the target has to be typed');
  await accessible(page, 'a restore that destroys');
  await picture(page, 'restore-confirm');
  await dialog.getByRole('textbox').fill(target);
  await dialog.getByRole('button', { name: 'Restore', exact: true }).click();
  await page.waitForURL(/\/jobs\//);
  await page.getByText('Succeeded', { exact: true }).waitFor();
}

export async function giveUp(story) {
  const { appliance, page, point } = story;
  await page.goto(`${appliance.url}/points/${point}`);
  await page.getByRole('button', { name: 'Give up', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Why').fill('a trial');
  await accessible(page, 'a point to be given up');
  await dialog.getByRole('button', { name: 'Give up', exact: true }).click();
  await page.waitForURL(/\/jobs\//);
  await page.getByText('Can be taken back until').waitFor();
  await page.goto(`${appliance.url}/points`);
  await page.getByRole('table', { name: 'Recovery points' }).waitFor();
  await page.getByRole('link', { name: 'laptop #1' }).waitFor({ state: 'detached' });
  await page.getByRole('switch', { name: 'Given up, too' }).click();
  assert(page.url().includes('forgotten'), 'what is shown is in the URL');
  await page.getByRole('link', { name: 'laptop #1' }).click();
  await page.getByText('It can be had back until').waitFor();
  await page.getByRole('button', { name: 'Take back', exact: true }).click();
  await page.getByText('Taken back.').waitFor();
  await page.goto(`${appliance.url}/points`);
  await page.getByRole('link', { name: 'laptop #1' }).waitFor();
  noComplaints(page);
}

const MANY = 10_000;

/** The server's answers are made up here: to make as many points would take a day. What the page does with them is real. */
export async function manyPoints(story) {
  const { appliance, page: known } = story;
  const pattern = await appliance.api('GET', `/api/v1/recovery-points/${story.point}`);
  // A browser of its own: after downloads the shared one at times draws no frames of a new page.
  const browser = await launch();
  const page = await open(browser, { storageState: await known.context().storageState() });
  await page.route('**/api/v1/recovery-points?*', async (route) => {
    const query = new URL(route.request().url()).searchParams;
    const [from, limit] = [Number(query.get('cursor') ?? 0), Number(query.get('limit'))];
    const items = Array.from({ length: Math.min(limit, MANY - from) }, (_, at) => ({ ...pattern, id: (from + at).toString(16).padStart(64, '0'), sequence: MANY - from - at }));
    await route.fulfill({ json: { items, ...(from + limit < MANY ? { next_cursor: String(from + limit) } : {}) } });
  });
  await page.goto(`${appliance.url}/points`);
  await page.getByRole('link', { name: 'laptop #10,000' }).waitFor();
  await page.bringToFront();
  const { slowest, most, steps } = await page.evaluate(async (last) => {
    // A page that is not shown draws no frames.
    const frame = () => new Promise((wake) => { requestAnimationFrame(wake); setTimeout(wake, 50); });
    const rows = () => document.querySelectorAll('[role=row]').length;
    const isEnd = () => [...document.querySelectorAll('[role=row] a')].some((link) => link.textContent === last);
    let [slowest, most, steps] = [0, 0, 0];
    const until = performance.now() + 180_000;
    for (; performance.now() < until && !isEnd(); steps += 1) {
      const before = performance.now();
      window.scrollBy(0, window.innerHeight);
      await frame();
      await frame();
      slowest = Math.max(slowest, performance.now() - before);
      most = Math.max(most, rows());
    }
    return { slowest, most, steps };
  }, 'laptop #1');
  console.log(`# ${MANY} points: ${steps} screens, at most ${most} rows drawn, slowest screen ${slowest.toFixed(0)} ms`);
  await page.getByRole('link', { name: 'laptop #1', exact: true }).waitFor();
  assert(most < 120, `${most} rows are drawn at once`);
  await page.getByText('10,000 recovery points').waitFor();
  await page.getByRole('link', { name: 'laptop #1', exact: true }).focus();
  noComplaints(page);
  await browser.close();
}
