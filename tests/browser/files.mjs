// Files of a recovery point: found, looked into, downloaded.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
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
  await archives(story);
  await bringBack(story);
  await search(story);
  noComplaints(page);
}

/** A directory comes whole, in either form. */
async function archives({ appliance, page, point, disk }) {
  await page.goto(`${appliance.url}/points/${point}/files?path=%2Fetc`);
  await page.getByRole('link', { name: 'hostname', exact: true }).waitFor();
  const tar = await download(page, 'Download as tar');
  assert(tar.includes('etc/hostname') && tar.includes(disk.files['etc/hostname']), 'the tar has the file');
  assert(tar.subarray(-1024).every((byte) => byte === 0), 'the tar comes to its end');
  const zip = await download(page, 'Download as zip');
  assert(zip.subarray(0, 4).toString('latin1') === 'PK\x03\x04' && zip.includes('etc/hostname'), 'the zip has the file');
  assert(zip.subarray(-200).includes('PK\x05\x06'), 'the zip comes to its end');
}

/** A chosen file is restored beside one that differs; where it was, it goes only if two command lines say so. */
async function bringBack({ appliance, page, disk }) {
  const into = appliance.path('restores/files');
  mkdirSync(`${into}/etc`, { recursive: true });
  writeFileSync(`${into}/etc/hostname`, 'mine\n');
  await page.getByRole('checkbox', { name: 'Choose hostname' }).check();
  await page.getByRole('link', { name: 'Restore one chosen' }).click();
  await page.getByRole('textbox', { name: 'Into the directory' }).fill(into);
  await page.getByRole('button', { name: 'Dry run', exact: true }).click();
  await page.getByText('It would work').waitFor();
  await page.getByText('stays; this one is hostname.restored-').waitFor();
  await settled(page);
  await accessible(page, 'a dry run of files');
  await picture(page, 'restore-files');
  assert.deepEqual(readdirSync(`${into}/etc`), ['hostname'], 'a dry run writes nothing');
  const wizard = page.url();
  await page.getByRole('button', { name: 'Restore', exact: true }).click();
  await page.waitForURL(/\/jobs\//);
  await page.getByText('Succeeded', { exact: true }).waitFor();
  const names = readdirSync(`${into}/etc`).sort();
  assert(names.length === 2 && names[1].startsWith('hostname.restored-'), names.join());
  assert.equal(readFileSync(`${into}/etc/hostname`, 'utf8'), 'mine\n');
  assert(readFileSync(`${into}/etc/${names[1]}`).equals(disk.files['etc/hostname']), 'it is the one of the point');
  await picture(page, 'restored-files');

  await page.goto(wizard);
  await page.getByText('Back to where they were', { exact: true }).click();
  await page.getByText('icecore agent run --restore-files /etc').waitFor();
  await page.getByRole('button', { name: /^Dry run/ }).first().click();
  await page.getByText('passes no disks to the machine').waitFor();
  await settled(page);
  await accessible(page, 'files that go back to where they were');
  await picture(page, 'restore-in-place');
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

async function download(page, name = 'Download') {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name, exact: true }).click()]);
  return readFileSync(await file.path());
}
