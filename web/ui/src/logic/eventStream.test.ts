import { expect, test } from 'vitest';
import { EventParser, pauseMs } from './eventStream';

const TEXT = ': alive\n\nid: 7\nevent: job.started\ndata: {"subject":"a"}\n\nevent: job.progress\r\ndata: one\r\ndata: two\r\n\r\n';
const EVENTS = [
  { id: '7', kind: 'job.started', data: '{"subject":"a"}' },
  { id: '', kind: 'job.progress', data: 'one\ntwo' },
];

test('events are read the same wherever the network cuts them', () => {
  for (let cut = 0; cut <= TEXT.length; cut += 1) {
    const parser = new EventParser();
    expect([...parser.push(TEXT.slice(0, cut)), ...parser.push(TEXT.slice(cut))], `cut at ${cut}`).toEqual(EVENTS);
  }
  const parser = new EventParser();
  expect([...TEXT].flatMap((letter) => parser.push(letter))).toEqual(EVENTS);
});

test('signs of life and unfinished events tell nothing', () => {
  const parser = new EventParser();
  expect(parser.push(': x\n\n:\n\n\n\nid: 9\ndata: half\n')).toEqual([]);
  expect(parser.push('\n')).toEqual([{ id: '9', kind: 'message', data: 'half' }]);
});

test('pauses between attempts grow and end at half a minute', () => {
  expect(pauseMs(0, () => 0.5)).toBe(1000);
  expect(pauseMs(3, () => 0.5)).toBe(8000);
  expect(pauseMs(99, () => 1)).toBe(37_500);
});
