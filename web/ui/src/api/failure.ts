// What a request came to when it did not succeed: the server's own words, or that the server cannot be reached.

/** Code of a failure that never reached the server. */
export const OFFLINE = 'offline';

export class Failure extends Error {
  constructor(
    readonly code: string,
    readonly what: string,
    readonly why?: string,
    readonly next?: string,
    readonly requestId?: string,
    readonly status = 0,
  ) {
    super(what);
    this.name = 'Failure';
  }

  /** The server's envelope, or as much as can be said of what is none. */
  static of(body: unknown, status: number): Failure {
    const error = (body as { error?: Record<string, unknown> } | undefined)?.error;
    const text = (key: string) => (typeof error?.[key] === 'string' ? (error[key] as string) : undefined);
    return new Failure(
      text('code') ?? 'internal',
      text('what') ?? `The server answered with status ${status}.`,
      text('why'),
      text('next'),
      text('request_id'),
      status,
    );
  }
}

/** Whatever was thrown, as a failure. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  // fetch throws a TypeError when nobody answers.
  if (error instanceof TypeError) return new Failure(OFFLINE, error.message);
  return new Failure('internal', error instanceof Error ? error.message : String(error));
}
