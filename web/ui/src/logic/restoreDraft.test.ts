import { expect, test } from 'vitest';
import { allowedFor, bodyOf, cliOf, confirmWord, destroys, draftOf, lacks, paths, searchOf } from './restoreDraft';

const POINT = 'ab'.repeat(32);
const draft = (text: string) => draftOf(new URLSearchParams(text));

test('a restore is what its URL says, and its URL is what it is', () => {
  for (const text of [`point=${POINT}`, `point=${POINT}&disk=sda&what=partition&partition=2&target=%2Fdev%2Fsdb&overwrite=&delta=`, `point=${POINT}&what=files&file=%2Fetc&file=%2Fsrv%2Fa+b&target=%2Fr`, `point=${POINT}&what=files&file=%2Fetc&agent=0193&inplace=&existing=skip`]) {
    expect(searchOf(draft(text)).toString()).toBe(text);
  }
  expect(draft('what=everything&format=vhd&partition=-1')).toMatchObject({ what: 'disk', format: 'qcow2', partition: undefined });
});

test('what is missing is named', () => {
  expect(lacks(draft(''), 1)).toEqual(['point', 'target']);
  expect(lacks(draft(`point=${POINT}&target=/x`), 2)).toEqual(['disk']);
  expect(lacks(draft(`point=${POINT}&target=/x&what=partition`), 1)).toEqual(['partition']);
  expect(lacks(draft(`point=${POINT}&target=/x&what=files&file=etc`), 1)).toEqual(['files']);
  expect(lacks(draft(`point=${POINT}&target=x`), 1)).toEqual(['target']);
  expect(lacks(draft(`point=${POINT}&target=/x&what=files&file=/etc`), 1)).toEqual([]);
});

test('the server is asked for nothing that a kind of restore does not know', () => {
  const all = `point=${POINT}&target=/x&partition=1&file=/etc&format=vmdk&delta&overwrite`;
  expect(bodyOf(draft(`${all}&what=disk`), true)).toEqual({ point: POINT, target: '/x', delta: true, overwrite: true, dry_run: true });
  expect(bodyOf(draft(`${all}&what=partition`), false)).toEqual({ point: POINT, target: '/x', partition: 1, delta: true, overwrite: true });
  expect(bodyOf(draft(`${all}&what=files`), false)).toEqual({ point: POINT, target: '/x', partition: 1, files: ['/etc'], existing: 'beside' });
  expect(bodyOf(draft(`${all}&what=image`), false)).toEqual({ point: POINT, target: '/x', format: 'vmdk', overwrite: true });
  expect(bodyOf(draft(`${all}&what=disk&inplace`), false)).not.toHaveProperty('in_place');
});

test('another machine may write disks, partitions and files, and no images', () => {
  const to = `point=${POINT}&agent=0193&target=/dev/vdb`;
  expect(searchOf(draft(to)).get('agent')).toBe('0193');
  expect(bodyOf(draft(to), false)).toEqual({ point: POINT, agent_id: '0193', target: '/dev/vdb' });
  expect(bodyOf(draft(`${to}&what=partition&partition=1`), false)).toMatchObject({ agent_id: '0193' });
  expect(bodyOf(draft(`${to}&what=files&file=/etc`), false)).toMatchObject({ agent_id: '0193', files: ['/etc'] });
  expect(bodyOf(draft(`${to}&what=image`), false)).not.toHaveProperty('agent_id');
});

test('devices and what is there are confirmed by typing', () => {
  expect(destroys(draft('target=/srv/new.img'))).toBe(false);
  expect(destroys(draft('target=/dev/sdb'))).toBe(true);
  expect(destroys(draft('target=/srv/old.img&overwrite'))).toBe(true);
  expect(destroys(draft('target=/srv/old.img&delta'))).toBe(true);
});

test('files that go back to where they were need no target', () => {
  const back = draft(`point=${POINT}&what=files&file=/etc/fstab&inplace&target=/x&existing=overwrite`);
  expect(lacks(draft(`point=${POINT}&what=files&file=/etc&inplace`), 1)).toEqual([]);
  expect(bodyOf(back, true)).toEqual({ point: POINT, in_place: true, files: ['/etc/fstab'], existing: 'overwrite', dry_run: true });
  expect(cliOf(back, false)).toBe('icecore restore abababababab --files /etc/fstab --in-place --overwrite');
  expect([allowedFor(back), confirmWord(back), destroys(back)]).toEqual(['/etc', '/etc/fstab', true]);
  expect(allowedFor(draft('what=files&file=/etc&inplace'))).toBe('/');
  expect(destroys(draft('what=files&target=/dev/shm&overwrite'))).toBe(false);
});

test('a field with paths has one in each line', () => {
  expect(paths(' /etc \n\n/srv/a b\n')).toEqual(['/etc', '/srv/a b']);
});

test('the command line does the same', () => {
  expect(cliOf(draft(`point=${POINT}&target=/x%20y&what=partition&partition=2&delta`), true)).toBe("icecore restore abababababab --partition 2 --to '/x y' --delta --dry-run");
  expect(cliOf(draft(`point=${POINT}&target=/x&what=files&file=/etc&file=/srv`), false)).toBe('icecore restore abababababab --files /etc /srv --to /x --beside');
  expect(cliOf(draft(`point=${POINT}&target=/x.vmdk&what=image&format=vmdk`), true)).toBe('icecore export abababababab --format vmdk --to /x.vmdk');
});
