// The web page as people use it: one appliance, from its first start on. The parts follow each other like a story; each stands in a file.
import { after, before, test } from 'node:test';
import { Appliance } from './appliance.mjs';
import { launch } from './browser.mjs';
import { firstRun } from './first_run.mjs';
import { conflict, retriesAndFailures, tellsOfAlerts } from './actions.mjs';
import { browse } from './files.mjs';
import { giveUp, manyPoints, restore } from './points.mjs';
import { languages, screens } from './screens.mjs';
import { viewerChangesNothing } from './rights.mjs';
import { comesBack } from './live.mjs';
import { account } from './account.mjs';
import { firstLoad } from './weight.mjs';

const story = {};

before(async () => {
  story.browser = await launch();
  story.appliance = await Appliance.start();
});

after(async () => {
  await story.browser?.close();
  await story.appliance?.end();
});

test('from the one-time link to a first backup that restores', () => firstRun(story));
test('a point is proved, restored in the browser and compared', () => restore(story));
test('a file is found in a point, looked into and downloaded', () => browse(story));
test('a point is given up and taken back', () => giveUp(story));
test('ten thousand points scroll, and few of them are drawn', () => manyPoints(story));
test('a job that fails says why, and is tried again or ended', () => retriesAndFailures(story));
test('an edit of a plan that somebody else changed is not lost and loses nothing', () => conflict(story));
test('a channel for alerts is added, tested and removed', () => tellsOfAlerts(story));
test('a person is invited, binds an authenticator, and makes a token', () => account(story));
test('every screen is accessible in both schemes and fits every width', () => screens(story));
test('the page speaks German', () => languages(story));
test('a viewer sees nothing that changes anything, and the server refuses it', () => viewerChangesNothing(story));
test('the page notices that the server went and came back, and what happened meanwhile', () => comesBack(story));
test('a first load is no larger than 250 KiB', () => firstLoad(story));
