// The one way to the server. Every request that changes something carries the session's CSRF token, which lives in memory only.
import createClient, { type Middleware } from 'openapi-fetch';
import type { components, paths } from './schema';
import { Failure } from './failure';

export type Schemas = components['schemas'];

const SESSION = '/api/v1/session';
let csrfToken = '';
let onLoggedOut: () => void = () => undefined;

export function setCsrfToken(token: string) {
  csrfToken = token;
}

/** Called when the server no longer knows the session. */
export function setOnLoggedOut(tell: () => void) {
  onLoggedOut = tell;
}

const guard: Middleware = {
  onRequest: ({ request }) => {
    if (!['GET', 'HEAD'].includes(request.method) && csrfToken) request.headers.set('X-CSRF-Token', csrfToken);
    return request;
  },
};

export const api = createClient<paths>({ baseUrl: '/', credentials: 'same-origin', cache: 'no-store' });
api.use(guard);

/** The data of an answer; everything else is thrown as a `Failure`. */
export async function ask<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (response.ok) return data as T;
  const failure = Failure.of(error, response.status);
  // Who asks whether there is a session learns it from the answer.
  if (failure.code === 'not_logged_in' && !response.url.endsWith(SESSION)) onLoggedOut();
  throw failure;
}

/** Header of an edit of what had this revision when it was read. */
export function ifMatch(revision: number): { 'If-Match': string } {
  return { 'If-Match': `"${revision}"` };
}

/** All pages of a list, up to a bound that keeps the browser well. */
export async function allPages<T>(
  page: (cursor: string | undefined) => Promise<{ items: T[]; next_cursor?: string | null }>,
  most = 5000,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const one = await page(cursor);
    items.push(...one.items);
    cursor = one.next_cursor ?? undefined;
  } while (cursor && items.length < most);
  return items;
}
