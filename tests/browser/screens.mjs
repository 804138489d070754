// Every screen, at every width and in both schemes: looked at by the accessibility rules, and kept as a picture.
import { accessible, fits, NARROW, NARROWEST, noComplaints, open, picture, settled, WIDE } from './browser.mjs';
import { NAME, PASSWORD } from './first_run.mjs';

export async function urls(appliance, story) {
  const { items: agents } = await appliance.api('GET', '/api/v1/agents');
  const laptop = agents.find((agent) => agent.name === 'laptop');
  const { items: plans } = await appliance.api('GET', '/api/v1/plans');
  const plan = plans.find((one) => one.name === 'laptop');
  return {
    overview: '/', machines: '/machines', machine: `/machines/${laptop.id}`, enrol: '/machines/enrol', plans: '/plans', plan: `/plans/${plan.id}`, 'plan-edit': `/plans/${plan.id}/edit`,
    'plan-new': `/plans/new?machine=${laptop.id}`, jobs: '/jobs', 'jobs-none': '/jobs?state=queued', job: `/jobs/${story.job}`, 'job-failure': `/jobs/${story.failedJob}`, repositories: '/repositories', alerts: '/alerts',
    points: '/points', 'points-none': '/points?series=00', point: `/points/${story.point}`, files: `/points/${story.point}/files`, 'files-show': story.fileUrl, restore: '/restore', 'restore-point': `/restore?point=${story.point}&what=files&file=%2Fetc&target=%2Fsrv%2Frestores`, 'job-restore': `/jobs/${story.restoreJob}`, 'job-verify': `/jobs/${story.verifyJob}`,
    people: '/security/people', enrolments: '/security/enrolments', audit: '/security/audit', settings: '/settings', account: '/account', api: '/api', nowhere: '/nowhere',
  };
}

/** More machines and a month of history would take a month; a few more backups show the same shapes. */
async function history({ appliance }) {
  const { items: plans } = await appliance.api('GET', '/api/v1/plans');
  const plan = plans.find((one) => one.name === 'laptop');
  for (let run = 0; run < 2; run += 1) {
    const job = await appliance.api('POST', `/api/v1/plans/${plan.id}/run`);
    await appliance.succeeded(job.id);
  }
}

export async function screens(story) {
  const { appliance, page } = story;
  await history(story);
  for (const [name, url] of Object.entries(await urls(appliance, story))) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(WIDE);
      await page.goto(appliance.url + url);
      await settled(page);
      await accessible(page, `${name}, ${colorScheme}`);
      await picture(page, `${name}-1440-${colorScheme}`);
      await page.setViewportSize(NARROW);
      await settled(page);
      await fits(page, `${name} at 390`);
      // Colours do not depend on the width, so once is enough.
      if (colorScheme === 'light') await accessible(page, `${name}, narrow`);
      await picture(page, `${name}-390-${colorScheme}`);
      await page.setViewportSize(NARROWEST);
      await fits(page, `${name} at 360`);
    }
  }
  await page.setViewportSize(NARROW);
  await page.goto(appliance.url);
  await page.getByRole('button', { name: 'Menu', exact: true }).click();
  await page.getByRole('link', { name: 'Plans' }).waitFor();
  await accessible(page, 'the menu of a narrow page');
  await picture(page, 'menu-390-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(WIDE);
  noComplaints(page);
}

export async function languages(story) {
  const page = await open(story.browser, { locale: 'de-DE' });
  await page.goto(story.appliance.url);
  await page.getByLabel('Name').fill(NAME);
  await page.locator('input[type=password]').fill(PASSWORD);
  await page.getByRole('button', { name: 'Anmelden', exact: true }).click();
  await page.getByRole('heading', { name: 'Übersicht', exact: true, level: 1 }).waitFor();
  await settled(page);
  await picture(page, 'overview-1440-german');
  await page.getByRole('button', { name: 'Sprache', exact: true }).click();
  await page.getByRole('menuitem', { name: 'English' }).click();
  await page.getByRole('heading', { name: 'Overview', exact: true, level: 1 }).waitFor();
  noComplaints(page);
  await page.context().close();
}
