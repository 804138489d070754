// Where disks changed, backup by backup: rows of time, columns of place.

/** A backup with what its result says of the places that changed. */
export interface Changed {
  id: string;
  at: string;
  disks: { name: string; size_bytes: number; changed_percent: number[] }[];
}

export interface Row {
  id: string;
  at: string;
  /** Of each part of the disk, how many percent changed. */
  percent: number[];
}

export interface DiskRows {
  name: string;
  size_bytes: number;
  /** The newest last. */
  rows: Row[];
}

/** Rows of each disk, at most so many of the newest; disks in the order of their names. */
export function diskRows(backups: Changed[], most: number): DiskRows[] {
  const disks = new Map<string, DiskRows>();
  for (const backup of [...backups].sort((a, b) => a.at.localeCompare(b.at))) {
    for (const { name, size_bytes, changed_percent } of backup.disks) {
      const disk = disks.get(name) ?? { name, size_bytes, rows: [] };
      // Places of a disk that grew meanwhile are other places.
      if (disk.size_bytes !== size_bytes) Object.assign(disk, { size_bytes, rows: [] });
      disk.rows.push({ id: backup.id, at: backup.at, percent: changed_percent });
      disks.set(name, disk);
    }
  }
  const all = [...disks.values()].map((disk) => ({ ...disk, rows: disk.rows.slice(-most) }));
  return all.sort((a, b) => a.name.localeCompare(b.name));
}

/** How deep a place is drawn: 0 for no change, 4 for nearly all. */
export function depth(percent: number): 0 | 1 | 2 | 3 | 4 {
  if (percent <= 0) return 0;
  if (percent < 5) return 1;
  if (percent < 25) return 2;
  return percent < 75 ? 3 : 4;
}

/** A row as runs of equal depth, without those where nothing changed. */
export function runs(percent: number[]): { from: number; length: number; depth: number }[] {
  const found: { from: number; length: number; depth: number }[] = [];
  percent.forEach((share, at) => {
    const last = found.at(-1);
    const of = depth(share);
    if (last && last.depth === of && last.from + last.length === at) last.length += 1;
    else if (of > 0) found.push({ from: at, length: 1, depth: of });
  });
  return found;
}

/** How many parts changed at all. */
export function touched(percent: number[]): number {
  return percent.filter((share) => share > 0).length;
}
