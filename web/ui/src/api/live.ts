// Follows the server's events and marks what they concern as out of date, so that every screen shows what is, without asking in turns.
import type { QueryClient } from '@tanstack/react-query';
import { EventParser, pauseMs, type StreamEvent } from '../logic/eventStream';
import { outdate } from '../logic/outdate';

/** What the page knows of its connection: events come in; it is being made; the server cannot be reached. */
export type Connection = 'live' | 'connecting' | 'lost';

/** Without a sign of life for this long (one comes every 15 s) the connection is dead, whatever the network says. */
const SILENCE_MS = 40_000;

/** Which queries an event makes out of date, by what stands before its dot. */
const CONCERNED: Record<string, string[]> = {
  job: ['jobs', 'job', 'jobLog', 'plans', 'plan', 'days', 'points'],
  plan: ['plans', 'plan', 'retention', 'jobs'],
  agent: ['agents', 'agent', 'devices', 'enrolments'],
  enrolment: ['enrolments', 'agents'],
  repository: ['repositories'],
  'recovery-point': ['points', 'retention'],
  'recovery-points': ['points'],
  alert: ['alerts'],
  alert_channel: ['channels'],
  settings: ['settings'],
  user: ['users'],
  token: ['tokens'],
  session: ['sessions'],
  account: ['session'],
};

/** The keys of queries that an event concerns; `undefined` for all of them. */
export function concerned(event: StreamEvent): readonly string[] | undefined {
  if (event.kind === 'gap') return undefined;
  if (event.kind === 'job.progress') return ['job'];
  return CONCERNED[event.kind.split('.')[0] ?? ''] ?? [];
}

function subject(event: StreamEvent): string | undefined {
  try {
    return (JSON.parse(event.data) as { subject?: string }).subject;
  } catch {
    return undefined;
  }
}

/** Follows until it is stopped; returns what stops it. */
export function follow(queries: QueryClient, tell: (connection: Connection) => void): () => void {
  const stopped = new AbortController();
  let last = '';
  let failures = 0;

  function heard(event: StreamEvent) {
    if (event.id) last = event.id;
    const keys = concerned(event);
    if (!keys) {
      outdate(queries);
    } else if (event.kind === 'job.progress') {
      outdate(queries, { queryKey: ['job', subject(event)] });
    } else {
      for (const key of keys) outdate(queries, { queryKey: [key] });
    }
  }

  async function once() {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), SILENCE_MS);
    const signal = AbortSignal.any([stopped.signal, silent.signal]);
    try {
      const headers: Record<string, string> = last ? { 'Last-Event-ID': last } : {};
      const answer = await fetch('/api/v1/events', { headers, signal, credentials: 'same-origin', cache: 'no-store' });
      if (!answer.ok || !answer.body) throw new Error(`status ${answer.status}`);
      tell('live');
      // Without a number to go on from, nobody tells what happened before: a job that was shown as waiting may have failed while the
      // connection was being made.
      if (!last) outdate(queries);
      failures = 0;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silent.abort(), SILENCE_MS);
        parser.push(value).forEach(heard);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async function forEver() {
    while (!stopped.signal.aborted) {
      try {
        await once();
      } catch {
        failures += 1;
      }
      if (stopped.signal.aborted) return;
      tell(failures > 1 ? 'lost' : 'connecting');
      await new Promise<void>((wake) => {
        const timer = setTimeout(wake, pauseMs(failures, Math.random));
        const now = () => {
          clearTimeout(timer);
          wake();
        };
        window.addEventListener('online', now, { once: true });
        stopped.signal.addEventListener('abort', now, { once: true });
      });
    }
  }
  void forEver();
  return () => stopped.abort();
}
