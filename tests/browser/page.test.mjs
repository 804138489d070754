// The web page as people use it: one appliance, from its first start on. The parts follow each other like a story; each stands in a file.
import { after, before, test } from 'node:test';
import { Appliance } from './appliance.mjs';
import { launch, pictureOfFailure } from './browser.mjs';
import { firstRun } from './first_run.mjs';
import { conflict, retriesAndFailures, tellsOfAlerts } from './actions.mjs';
import { crowd } from './crowd.mjs';
import { browse } from './files.mjs';
import { giveUp, manyPoints, restore } from './points.mjs';
import { languages, screens } from './screens.mjs';
import { viewerChangesNothing } from './rights.mjs';
import { comesBack } from './live.mjs';
import { account } from './account.mjs';
import { firstLoad } from './weight.mjs';

const story = {};

/** A part of the story; when it fails, what the page showed and what the server knew is kept. */
function part(title, tell) {
  // Far more than any takes: a part that hangs shall fail, and the others run.
  test(title, { timeout: 600_000 }, async () => {
    try {
      await tell(story);
    } catch (error) {
      await pictureOfFailure(story, title);
      throw error;
    }
  });
}

before(async () => {
  story.browser = await launch();
  story.appliance = await Appliance.start();
});

after(
  async () => {
    await story.browser?.close();
    await story.appliance?.end();
  },
  // A browser that hangs may not close either.
  { timeout: 60_000 },
);

part('from the one-time link to a first backup that restores', firstRun);
part('a point is proved, restored in the browser and compared', restore);
part('a file is found in a point, looked into and downloaded', browse);
part('a point is given up and taken back', giveUp);
part('ten thousand points scroll, and few of them are drawn', manyPoints);
part('a directory of a hundred thousand entries scrolls, and few of them are drawn', crowd);
part('a job that fails says why, and is tried again or ended', retriesAndFailures);
part('an edit of a plan that somebody else changed is not lost and loses nothing', conflict);
part('a channel for alerts is added, tested and removed', tellsOfAlerts);
part('a person is invited, binds an authenticator, and makes a token', account);
part('every screen is accessible in both schemes and fits every width', screens);
part('the page speaks German', languages);
part('a viewer sees nothing that changes anything, and the server refuses it', viewerChangesNothing);
part('the page notices that the server went and came back, and what happened meanwhile', comesBack);
part('a first load is no larger than 250 KiB', firstLoad);
