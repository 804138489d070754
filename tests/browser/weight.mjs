// What a browser that was never here has to load before the overview is there.
import assert from 'node:assert/strict';
import { open } from './browser.mjs';
import { NAME, PASSWORD } from './first_run.mjs';

const MOST_BYTES = 250 * 1024;

export async function firstLoad(story) {
  const { appliance, browser } = story;
  const page = await open(browser);
  const loaded = new Map();
  page.on('response', async (response) => {
    const url = new URL(response.url());
    if (url.pathname.startsWith('/api/')) return;
    const sizes = await response.request().sizes().catch(() => undefined);
    loaded.set(url.pathname, { bytes: sizes?.responseBodySize ?? 0, headers: response.headers() });
  });
  await page.goto(appliance.url);
  await page.getByLabel('Name').fill(NAME);
  await page.locator('input[type=password]').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await page.getByText('laptop').first().waitFor();
  await page.waitForLoadState('load');
  const total = [...loaded.values()].reduce((sum, file) => sum + file.bytes, 0);
  console.log(`# first load: ${(total / 1024).toFixed(1)} KiB in ${loaded.size} files`);
  for (const [path, { bytes }] of [...loaded].sort((a, b) => b[1].bytes - a[1].bytes)) console.log(`#   ${(bytes / 1024).toFixed(1)} KiB ${path}`);
  assert(total > 50 * 1024, 'the sizes are known');
  assert(total <= MOST_BYTES, `the first load is ${total} bytes`);
  for (const [path, { bytes, headers }] of loaded) {
    if (path.endsWith('.js') || path.endsWith('.css')) {
      // The smallest ones would not get smaller.
      if (bytes >= 512) assert.equal(headers['content-encoding'], 'br', path);
      assert.match(headers['cache-control'], /immutable/, path);
    }
  }
  await page.context().close();
}
