import { QueryClient, QueryObserver } from '@tanstack/react-query';
import { expect, test } from 'vitest';
import { outdate } from './outdate';

/** A server whose answers are let through one by one. */
function asking() {
  const queries = new QueryClient();
  const waiting: ((answer: string) => void)[] = [];
  const observer = new QueryObserver(queries, { queryKey: ['job', '1'], queryFn: () => new Promise<string>((answer) => waiting.push(answer)) });
  const stop = observer.subscribe(() => undefined);
  const answer = async (text: string) => {
    waiting.shift()?.(text);
    await new Promise((later) => setTimeout(later));
  };
  return { queries, observer, waiting, answer, stop };
}

test('what happens while the first answer is on its way is not missed', async () => {
  const { queries, observer, waiting, answer, stop } = asking();
  outdate(queries, { queryKey: ['job'] });
  expect(waiting).toHaveLength(1);
  await answer('queued');
  expect(waiting).toHaveLength(1);
  await answer('succeeded');
  expect([observer.getCurrentResult().data, waiting.length]).toEqual(['succeeded', 0]);
  stop();
});

test('many events during one answer cost one more request', async () => {
  const { queries, waiting, answer, stop } = asking();
  for (let event = 0; event < 20; event += 1) outdate(queries, { queryKey: ['job', '1'] });
  await answer('running');
  expect(waiting).toHaveLength(1);
  await answer('succeeded');
  expect(waiting).toHaveLength(0);
  expect(queries.getQueryData(['job', '1'])).toBe('succeeded');
  stop();
});

test('an answer that is there is asked for again at once, and what an event does not concern is left alone', async () => {
  const { queries, waiting, answer, stop } = asking();
  await answer('running');
  outdate(queries, { queryKey: ['plans'] });
  expect(waiting).toHaveLength(0);
  outdate(queries);
  expect(waiting).toHaveLength(1);
  await answer('succeeded');
  stop();
});
