// Paths inside a recovery point, in the escaped form in which the server speaks of them. A slash never stands inside a name.

/** `/etc` and `passwd` → `/etc/passwd`. */
export function joined(path: string, name: string): string {
  return path === '/' ? `/${name}` : `${path}/${name}`;
}

/** Where a directory is downloaded with everything below it. */
export function archiveUrl(place: { point: string; disk?: string | undefined; partition?: number | undefined }, path: string, format: 'zip' | 'tar'): string {
  const query = new URLSearchParams({ path, format, ...(place.disk ? { disk: place.disk } : {}), ...(place.partition ? { partition: String(place.partition) } : {}) });
  return `/api/v1/recovery-points/${place.point}/archive?${query}`;
}

/** Where a file or directory of a point is shown on this page. */
export function placeUrl(place: { point: string; disk?: string | undefined; partition?: number | undefined }, path: string, kind: string | undefined): string {
  const query = new URLSearchParams();
  if (place.disk) query.set('disk', place.disk);
  if (place.partition) query.set('partition', String(place.partition));
  const slash = path.lastIndexOf('/');
  const directory = kind === 'directory' ? path : path.slice(0, slash) || '/';
  if (directory !== '/') query.set('path', directory);
  if (kind === 'regular') query.set('show', path.slice(slash + 1));
  return `/points/${place.point}/files?${query}`;
}

/** Where files and directories of a point begin to be restored on this page. */
export function restoreUrl(place: { point: string; disk?: string | undefined; partition?: number | undefined }, paths: string[]): string {
  const query = new URLSearchParams({ point: place.point, what: 'files' });
  if (place.disk) query.set('disk', place.disk);
  if (place.partition) query.set('partition', String(place.partition));
  for (const path of paths) query.append('file', path);
  return `/restore?${query}`;
}

export interface Crumb {
  name: string;
  path: string;
}

/** `/a/b` → `a` at `/a`, `b` at `/a/b`. */
export function crumbs(path: string): Crumb[] {
  const names = path.split('/').filter(Boolean);
  return names.map((name, at) => ({ name, path: `/${names.slice(0, at + 1).join('/')}` }));
}

/** Whether a name is what it looks like, so that other programs take it as it stands. */
export function isPlain(path: string): boolean {
  return !path.includes('\\');
}

const IMAGES: Record<string, string> = { png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', gif: 'image/gif', webp: 'image/webp', bmp: 'image/bmp', avif: 'image/avif' };
/** A picture is shown up to this size; of a text this much is. */
export const MAX_IMAGE_BYTES = 8 << 20;
export const MAX_TEXT_BYTES = 256 << 10;

/** As what a picture is decoded; SVG is a document that could run scripts, and is shown as the text that it is. */
export function imageType(name: string): string | undefined {
  const dot = name.lastIndexOf('.');
  return dot < 0 ? undefined : IMAGES[name.slice(dot + 1).toLowerCase()];
}

/** What the first bytes of a file are as text; nothing where they are none. */
export function asText(bytes: Uint8Array, isWhole: boolean): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    // The last character may be cut in the middle.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: !isWhole });
  } catch {
    return undefined;
  }
}
