import { expect, test } from 'vitest';
import { bottleneck, shareParts, withCommands } from './progress';

test('the bottleneck is what takes most of the time, and nothing where nothing is known', () => {
  expect(bottleneck({ read: 700, hash: 200, compress: 100 })).toEqual({ name: 'read', share: 700 });
  expect(bottleneck({ read: 0 })).toBeUndefined();
  expect(shareParts({ store: 5, read: 5 }).map((part) => part.name)).toEqual(['read', 'store']);
});

test('commands in a text are found', () => {
  expect(withCommands('run `icecore check` now')).toEqual([
    { text: 'run ', isCommand: false }, { text: 'icecore check', isCommand: true }, { text: ' now', isCommand: false },
  ]);
  expect(withCommands('plain')).toEqual([{ text: 'plain', isCommand: false }]);
});
