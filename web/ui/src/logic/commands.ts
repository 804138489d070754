// Requests to the API as lines for a shell.

export interface ApiCall {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'PUT' | 'HEAD';
  path: string;
  body?: unknown;
  /** Whether it is an edit, which needs the ETag that was read. */
  ifMatch?: number;
}

/** For a POSIX shell: nothing between single quotes means anything but itself. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function curl({ method, path, body, ifMatch }: ApiCall, origin: string): string {
  const parts = ['curl -H "authorization: Bearer $TOKEN"'];
  if (method !== 'GET' && !(method === 'POST' && body !== undefined)) parts.push(`-X ${method}`);
  if (ifMatch !== undefined) parts.push(`-H 'if-match: "${ifMatch}"'`);
  if (body !== undefined) parts.push("-H 'content-type: application/json'");
  parts.push(quoted(origin + path));
  if (body !== undefined) parts.push(`-d ${quoted(JSON.stringify(body))}`);
  return parts.join(' ');
}
