import { expect, test } from 'vitest';
import { archiveUrl, asText, crumbs, imageType, isPlain, joined, placeUrl } from './filePath';

test('paths are put together and taken apart', () => {
  expect(joined('/', 'etc')).toBe('/etc');
  expect(joined('/etc', 'ssh')).toBe('/etc/ssh');
  expect(crumbs('/')).toEqual([]);
  expect(crumbs('/etc/ssh')).toEqual([{ name: 'etc', path: '/etc' }, { name: 'ssh', path: '/etc/ssh' }]);
  expect([isPlain('/a b/ä'), isPlain('/a\\n')]).toEqual([true, false]);
});

test('an archive is asked for by where its directory lies', () => {
  expect(archiveUrl({ point: 'ab', disk: 'sda', partition: 2 }, '/a b\\n', 'zip')).toBe('/api/v1/recovery-points/ab/archive?path=%2Fa+b%5Cn&format=zip&disk=sda&partition=2');
  expect(archiveUrl({ point: 'ab' }, '/', 'tar')).toBe('/api/v1/recovery-points/ab/archive?path=%2F&format=tar');
});

test('a file is shown in its directory, and a directory by itself', () => {
  const place = { point: 'ab', disk: 'sda', partition: 2 };
  expect(placeUrl(place, '/etc/a b\\n', 'regular')).toBe('/points/ab/files?disk=sda&partition=2&path=%2Fetc&show=a+b%5Cn');
  expect(placeUrl(place, '/etc/ssh', 'directory')).toBe('/points/ab/files?disk=sda&partition=2&path=%2Fetc%2Fssh');
  expect(placeUrl({ point: 'ab' }, '/link', 'symlink')).toBe('/points/ab/files?');
});

test('text is told from what is none, also when it is cut', () => {
  const bytes = new TextEncoder().encode('Eis: ä');
  expect(asText(bytes, true)).toBe('Eis: ä');
  expect(asText(bytes.slice(0, -1), false)).toBe('Eis: ');
  expect(asText(bytes.slice(0, -1), true)).toBeUndefined();
  expect(asText(new Uint8Array([65, 0, 66]), true)).toBeUndefined();
  expect(asText(new Uint8Array([0xff, 0xfe, 65]), true)).toBeUndefined();
});

test('pictures are known by their names, and nothing that runs scripts is one', () => {
  expect([imageType('a.PNG'), imageType('b.jpeg'), imageType('c.svg'), imageType('d.html'), imageType('png')]).toEqual(['image/png', 'image/jpeg', undefined, undefined, undefined]);
});
