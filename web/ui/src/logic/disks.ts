// Devices as disks with what lies on them, drawn to scale.

export interface DeviceOf {
  path: string;
  kind: string;
  on: string[];
  size_bytes: number;
  label?: string | null;
  serial?: string | null;
  read_only: boolean;
  removable: boolean;
  file_system?: string | null;
  mounts: string[];
  in_all_disks: boolean;
}

export interface Disk {
  device: DeviceOf;
  parts: Part[];
}

export interface Part {
  device: DeviceOf;
  /** Share of the disk's width, so that even a small one can be seen and pressed. */
  share: number;
  /** What lies on it: mapped devices, with what lies on those. */
  above: DeviceOf[];
}

const SMALLEST = 0.035;

/** All devices that lie on one, also by way of others, each once. */
function above(path: string, devices: DeviceOf[], seen = new Set<string>()): DeviceOf[] {
  return devices
    .filter((device) => device.on.includes(path) && device.kind !== 'partition' && !seen.has(device.path))
    .flatMap((device) => {
      seen.add(device.path);
      return [device, ...above(device.path, devices, seen)];
    });
}

/** Shares of the width: as large as the sizes, but none too small to see; they add up to at most 1. */
export function shares(sizes: number[], whole: number): number[] {
  const plain = sizes.map((size) => (whole > 0 ? size / whole : 0));
  const raised = plain.map((share) => Math.max(share, SMALLEST));
  const sum = raised.reduce((a, b) => a + b, 0);
  const total = Math.min(1, Math.max(plain.reduce((a, b) => a + b, 0), Math.min(sum, 1)));
  // Only what is larger than the smallest gives some of its width up.
  const over = raised.map((share) => share - SMALLEST);
  const spare = over.reduce((a, b) => a + b, 0);
  const excess = Math.max(0, sum - total);
  return raised.map((share, at) => (spare > 0 ? share - (excess * (over[at] ?? 0)) / spare : total / raised.length));
}

/** Disks, and what is no part of one, the largest first. */
export function disks(devices: DeviceOf[]): Disk[] {
  const whole = devices.filter((device) => device.kind === 'disk' || (device.on.length === 0 && device.kind !== 'partition'));
  const drawn = whole.map((device) => {
    const parts = devices.filter((part) => part.kind === 'partition' && part.on.includes(device.path));
    const widths = shares(parts.map((part) => part.size_bytes), device.size_bytes);
    return { device, parts: parts.map((part, at) => ({ device: part, share: widths[at] ?? 0, above: above(part.path, devices) })) };
  });
  return drawn.sort((a, b) => b.device.size_bytes - a.device.size_bytes);
}
