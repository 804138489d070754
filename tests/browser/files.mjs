// Files of a recovery point: found, looked into, downloaded.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { accessible, noComplaints, picture, settled } from './browser.mjs';

export async function browse(story) {
  const { appliance, page, point, disk } = story;
  await page.goto(`${appliance.url}/points/${point}`);
  await page.getByRole('link', { name: 'Files', exact: true }).click();
  await page.getByRole('link', { name: 'etc', exact: true }).click();
  await page.getByRole('link', { name: 'hostname', exact: true }).click();
  await page.getByText(disk.files['etc/hostname'].toString().trim()).waitFor();
  assert(page.url().includes('path=%2Fetc') && page.url().includes('show=hostname'), 'what is shown is in the URL');
  story.fileUrl = page.url().slice(appliance.url.length);
  await settled(page);
  await accessible(page, 'a file');
  await picture(page, 'file-text');
  await page.reload();
  await page.getByText(disk.files['etc/hostname'].toString().trim()).waitFor();
  assert.deepEqual(await download(page), disk.files['etc/hostname']);

  await page.getByRole('link', { name: 'Root', exact: true }).click();
  await page.getByRole('link', { name: 'dot.png', exact: true }).click();
  await page.getByRole('img', { name: 'dot.png' }).waitFor();
  await picture(page, 'file-image');
  await page.getByRole('link', { name: 'noise', exact: true }).click();
  await page.getByText('There is no preview of this kind of file.').waitFor();
  assert.deepEqual(await download(page), disk.files.noise, 'a large file comes whole');

  await page.getByRole('link', { name: 'many', exact: true }).click();
  await page.getByText('3,000 entries').waitFor();
  // The end comes as one scrolls; few of them are drawn.
  const last = page.getByText('file-02999', { exact: true });
  for (let screen = 0; screen < 400 && (await last.count()) === 0; screen += 1) await page.evaluate(() => window.scrollBy(0, window.innerHeight));
  await last.waitFor();
  assert((await page.getByRole('row').count()) < 120);
  await search(story);
  noComplaints(page);
}

/** Names are found through all recovery points once the keeper has listed them. */
async function search({ appliance, page, point, disk }) {
  const link = page.getByRole('link', { name: '/etc/hostname', exact: true });
  for (let attempt = 0; attempt < 60; attempt += 1) {
    await page.goto(`${appliance.url}/points/${point}/files?find=HOSTN*`);
    await link.or(page.getByText('No recovery point that was searched has such a file')).waitFor();
    if ((await link.count()) > 0) break;
    await page.waitForTimeout(1000);
  }
  await settled(page);
  await accessible(page, 'files that were found');
  await picture(page, 'files-found');
  await page.getByRole('searchbox', { name: 'Search for files' }).fill('no such file anywhere');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.getByText('No recovery point that was searched has such a file').waitFor();
  await page.goBack();
  await link.click();
  await page.getByText(disk.files['etc/hostname'].toString().trim()).waitFor();
  await page.getByRole('button', { name: 'Versions' }).click();
  await page.getByRole('table', { name: 'Versions' }).getByRole('link').first().waitFor();
  await settled(page);
  await accessible(page, 'versions of a file');
  await picture(page, 'file-versions');
}

async function download(page) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download', exact: true }).click()]);
  return readFileSync(await file.path());
}
