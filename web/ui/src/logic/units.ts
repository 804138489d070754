// Quantities as people read them. Sizes are binary with the binary units' names, as everywhere in Icecore.
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** 1536 → "1.5 KiB". Three digits are enough to compare. */
export function bytes(count: number, language = 'en'): string {
  let value = count;
  let unit = 0;
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value)} ${UNITS[unit]}`;
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['week', 7 * 86_400],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
];

/** "3 hours ago", "in 5 minutes"; below a minute "now". A unit is used from one and a half of it on, so that nothing is half wrong. */
export function relative(at: Date, now: Date, language = 'en'): string {
  const seconds = (at.getTime() - now.getTime()) / 1000;
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  for (const [unit, length] of STEPS) {
    const from = unit === 'minute' || unit === 'hour' ? length : 1.5 * length;
    if (Math.abs(seconds) >= from) return format.format(Math.round(seconds / length), unit);
  }
  return format.format(0, 'second');
}

/** 3725000 → "1 h 2 min"; two units at most. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 && minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** To whole hours where minutes no longer matter, for ages that are allowed. */
export function rounded(ms: number): number {
  const hour = 3_600_000;
  return ms < 3 * hour ? ms : Math.round(ms / hour) * hour;
}

export function number(value: number, language = 'en'): string {
  return new Intl.NumberFormat(language).format(value);
}

export function moment(at: Date, language = 'en'): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(at);
}

export function day(at: Date, language = 'en'): string {
  return new Intl.DateTimeFormat(language, { weekday: 'short', day: 'numeric', month: 'short' }).format(at);
}
