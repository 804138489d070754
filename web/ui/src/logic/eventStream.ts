// Reads server-sent events from text that comes in pieces. The browser's own EventSource is not used: it only tells events whose
// names were registered beforehand, and the server may learn new ones.

export interface StreamEvent {
  /** Number to come back with; empty for what is not kept. */
  id: string;
  kind: string;
  data: string;
}

/** Keeps what is not complete yet; gives each event once it is. */
export class EventParser {
  private rest = '';
  private fresh: { id: string; kind: string; data: string[] } = { id: '', kind: '', data: [] };

  push(piece: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    const lines = (this.rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        const { id, kind, data } = this.fresh;
        if (kind !== '' || data.length > 0) events.push({ id, kind: kind || 'message', data: data.join('\n') });
        this.fresh = { id: '', kind: '', data: [] };
        continue;
      }
      const colon = line.indexOf(':');
      // A line that begins with a colon is a sign of life.
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'id') this.fresh.id = value;
      if (field === 'event') this.fresh.kind = value;
      if (field === 'data') this.fresh.data.push(value);
    }
    return events;
  }
}

/** How long to wait before the connection is tried again, in milliseconds: 1, 2, 4 … 30 seconds, each a little different. */
export function pauseMs(failures: number, random: () => number): number {
  return Math.min(30_000, 1000 * 2 ** Math.min(failures, 10)) * (0.75 + random() / 2);
}
