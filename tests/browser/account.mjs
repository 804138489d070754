// People: invited by a link, with an authenticator and tokens of their own.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { accessible, noComplaints, open, picture, settled } from './browser.mjs';

export const VIEWER = 'vera';
export const VIEWERS_PASSWORD = 'a quiet viewer of ice';

/** The code that an authenticator shows (RFC 6238). */
function totp(secret, at) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const hash = createHmac('sha1', key).update(counter).digest();
  const place = hash[19] & 15;
  return String((hash.readUInt32BE(place) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

export async function account(story) {
  const { appliance, page, browser } = story;
  await page.goto(`${appliance.url}/security/people`);
  await page.getByRole('button', { name: 'Add a person', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill(VIEWER);
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByText('Give this link to the person').waitFor();
  const link = await page.getByRole('dialog').locator('pre').innerText();
  await picture(page, 'person-invited');
  await page.keyboard.press('Escape');
  await page.getByText('Invited').waitFor();

  const hers = await open(browser);
  story.viewer = hers;
  await hers.goto(link.trim());
  await hers.getByLabel('New password').fill(VIEWERS_PASSWORD);
  await hers.getByLabel('The password again').fill(VIEWERS_PASSWORD);
  await hers.getByRole('button', { name: 'Set password and log in', exact: true }).click();
  await hers.getByRole('heading', { name: 'Overview', exact: true, level: 1 }).waitFor();
  await hers.goto(`${appliance.url}/account`);
  await hers.getByLabel('Your password').fill(VIEWERS_PASSWORD);
  await hers.getByRole('button', { name: 'Set up', exact: true }).click();
  await hers.getByRole('img', { name: 'QR code' }).waitFor();
  await accessible(hers, 'an authenticator being bound');
  await picture(hers, 'authenticator');
  const secret = (await hers.locator('pre').first().innerText()).trim();
  await hers.getByLabel('One-time code').fill(totp(secret, Date.now()));
  await hers.getByRole('button', { name: 'Confirm', exact: true }).click();
  await hers.getByText('Each works once').waitFor();
  const codes = (await hers.locator('pre').first().innerText()).trim().split('\n');
  assert(codes.length >= 8, 'there are recovery codes');
  await hers.getByRole('button', { name: 'I keep them in a safe place', exact: true }).click();

  await hers.getByRole('button', { name: 'Make a token', exact: true }).click();
  await hers.getByRole('dialog').getByLabel('For what').fill('prometheus');
  await hers.getByRole('button', { name: 'Make token', exact: true }).click();
  assert.match(await hers.getByRole('dialog').locator('pre').innerText(), /^ict_/);
  await hers.getByRole('button', { name: 'Done', exact: true }).click();
  await hers.getByText('prometheus').waitFor();

  // Out, and in again with a recovery code.
  await hers.getByRole('button', { name: VIEWER }).click();
  await hers.getByRole('menuitem', { name: 'Log out' }).click();
  await hers.getByRole('heading', { name: 'Log in', exact: true, level: 1 }).waitFor();
  await settled(hers);
  await accessible(hers, 'the log-in');
  await picture(hers, 'log-in');
  await hers.getByLabel('Name').fill(VIEWER);
  await hers.locator('input[type=password]').fill('not this one, surely');
  await hers.getByRole('button', { name: 'Log in', exact: true }).click();
  await hers.getByRole('alert').waitFor();
  await hers.locator('input[type=password]').fill(VIEWERS_PASSWORD);
  await hers.getByRole('button', { name: 'Log in', exact: true }).click();
  await hers.getByLabel('One-time code').fill(codes[0].trim());
  await hers.getByRole('button', { name: 'Log in', exact: true }).click();
  await hers.getByRole('heading', { name: 'Overview', exact: true, level: 1 }).waitFor();
  noComplaints(hers);
  noComplaints(page);
}
