// Which rows of a long list are on the screen. All rows are of one height, so that nothing has to be measured.

export interface Span {
  from: number;
  to: number;
}

/** Rows that are drawn before and behind what is seen, so that a quick scroll meets no gap. */
const SPARE = 12;

/** `top` is where the first row is, relative to the top of the window: negative once it is scrolled out. */
export function windowed(top: number, windowHeight: number, rowHeight: number, count: number): Span {
  const within = (row: number) => Math.max(0, Math.min(count, row));
  const from = within(Math.floor(-top / rowHeight) - SPARE);
  const to = within(Math.ceil((windowHeight - top) / rowHeight) + SPARE);
  return { from: Math.min(from, to), to };
}

/** Whether the end of what is loaded comes near. */
export function nearsEnd(span: Span, count: number): boolean {
  return span.to + SPARE >= count;
}
