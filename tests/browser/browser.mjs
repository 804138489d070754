// A real Chromium, what every page in it must keep to, and the pictures that are kept.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { PATIENCE_MS } from './appliance.mjs';

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const PICTURES = process.env.ICECORE_SCREENSHOTS ?? new URL('../../target/screenshots', import.meta.url).pathname;

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };
export const NARROWEST = { width: 360, height: 740 };

export async function launch() {
  assert(PROGRAM, 'Chromium is not installed; run `cargo xtask setup`');
  mkdirSync(PICTURES, { recursive: true });
  // The sandbox needs what containers and root do not have; the pages are our own.
  return chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'] });
}

/** A person's browser. What the page complains about, a blocked style or script above all, is kept. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    // Chromium reports every answer that is not a success; those that are expected are asserted where they are made.
    const isAnswer = message.text().startsWith('Failed to load resource');
    if (message.type() === 'error' && !isAnswer) page.complaints.push(message.text());
  });
  page.on('requestfailed', (request) => {
    if (!request.url().startsWith('http://127.0.0.1:')) page.complaints.push(`a request to ${request.url()}`);
  });
  return page;
}

export function noComplaints(page) {
  assert.deepEqual(page.complaints, []);
}

/** Waits until nothing is being loaded. */
export async function settled(page) {
  await page.waitForFunction(() => document.querySelector('h1') && !document.querySelector('[role=status][aria-label]'));
  await page.evaluate(() => document.fonts.ready);
}

export async function picture(page, name) {
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true, animations: 'disabled' });
}

/** For whoever looks for the reason: the screen, where it is, and the jobs as the server knows them. */
export async function pictureOfFailure({ page, appliance }, title) {
  try {
    const { items } = await appliance.api('GET', '/api/v1/jobs?limit=3');
    const jobs = items.map((job) => `${job.id} ${job.kind} ${job.state} ${job.queued_at ?? ''} ${job.ended_at ?? ''}`).join('\n  ');
    console.log(`at ${page?.url()}\n  complaints: ${JSON.stringify(page?.complaints)}\n  jobs:\n  ${jobs}`);
    await picture(page, `failed-${title.replaceAll(/\W+/g, '-')}`);
  } catch (error) {
    console.log(`no picture of the failure: ${error}`);
  }
}

/** No violation of the accessibility rules, contrast included. */
export async function accessible(page, where) {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze();
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.slice(0, 4).map((node) => `    ${node.html.slice(0, 200)} ${node.any[0]?.message ?? ''}`).join('\n')}`);
  assert.deepEqual(told, [], `accessibility of ${where}:\n${told.join('\n')}`);
}

/** Nothing reaches beyond the right edge. */
export async function fits(page, where) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert(wide <= room, `${where} is ${wide} pixels wide in ${room}`);
}
