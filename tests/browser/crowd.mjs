// A directory with a hundred thousand entries, backed up and read as any other: it scrolls to its end, and few of them are drawn.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { launch, noComplaints, open } from './browser.mjs';

const MANY = 100_000;
const name = (number) => `file-${String(number).padStart(6, '0')}`;

/** A btrfs image: its maker is quick with so many names. */
async function disk(appliance) {
  const directory = appliance.path('crowd.files');
  mkdirSync(join(directory, 'crowd'), { recursive: true });
  for (let number = 0; number < MANY; number += 1) writeFileSync(join(directory, 'crowd', name(number)), '');
  const image = appliance.path('crowd');
  writeFileSync(image, '');
  truncateSync(image, 512 << 20);
  await appliance.tool('mkfs.btrfs', '-q', '--rootdir', directory, image);
  rmSync(directory, { recursive: true });
  return image;
}

export async function crowd(story) {
  const { appliance, page: known } = story;
  const { agent_id: agent } = (await appliance.api('GET', '/api/v1/plans')).items[0];
  const work = { sources: { paths: [await disk(appliance)] } };
  const plan = await appliance.api('POST', '/api/v1/plans', { name: 'crowd', agent_id: agent, work });
  const job = await appliance.api('POST', `/api/v1/plans/${plan.id}/run`);
  await appliance.succeeded(job.id);
  const { result } = await appliance.api('GET', `/api/v1/jobs/${job.id}`);

  // A browser of its own: after downloads the shared one at times draws no frames of a new page.
  const browser = await launch();
  const page = await open(browser, { storageState: await known.context().storageState() });
  const began = Date.now();
  await page.goto(`${appliance.url}/points/${result.point}/files?path=%2Fcrowd`);
  await page.getByText('100,000 entries').waitFor();
  await page.getByText(name(0), { exact: true }).waitFor();
  const first = Date.now() - began;
  await page.bringToFront();
  const { jumps, most } = await page.evaluate(async (last) => {
    // A page that is not shown draws no frames.
    const frame = () => new Promise((wake) => { requestAnimationFrame(wake); setTimeout(wake, 50); });
    const isEnd = () => [...document.querySelectorAll('[role=row] a')].some((link) => link.textContent === last);
    let [jumps, most] = [0, 0];
    const until = performance.now() + 180_000;
    for (; performance.now() < until && !isEnd(); jumps += 1) {
      window.scrollTo(0, document.body.scrollHeight);
      await frame();
      most = Math.max(most, document.querySelectorAll('[role=row]').length);
    }
    return { jumps, most };
  }, name(MANY - 1));
  const all = Date.now() - began;
  await page.getByText(name(MANY - 1), { exact: true }).waitFor();
  const { slowest, drawn } = await page.evaluate(async () => {
    // A page that is not shown draws no frames.
    const frame = () => new Promise((wake) => { requestAnimationFrame(wake); setTimeout(wake, 50); });
    let [slowest, drawn] = [0, 0];
    window.scrollTo(0, document.body.scrollHeight / 2);
    for (let screen = 0; screen < 60; screen += 1) {
      const before = performance.now();
      window.scrollBy(0, window.innerHeight);
      await frame();
      await frame();
      slowest = Math.max(slowest, performance.now() - before);
      drawn = Math.max(drawn, document.querySelectorAll('[role=row]').length);
    }
    return { slowest, drawn };
  });
  console.log(`# ${MANY} entries: the first after ${first} ms, all loaded after ${all} ms (${jumps} jumps to the end), slowest of 60 screens in the middle ${slowest.toFixed(0)} ms`);
  assert(Math.max(most, drawn) < 120, `${Math.max(most, drawn)} rows are drawn at once`);
  noComplaints(page);
  await browser.close();
  const { revision } = await appliance.api('GET', `/api/v1/plans/${plan.id}`);
  await appliance.api('DELETE', `/api/v1/plans/${plan.id}`, undefined, { 'if-match': `"${revision}"` });
}
