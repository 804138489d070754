// A list of any length: only the rows on the screen are drawn, and more is loaded when the end comes near. Every row has one height;
// on a narrow screen it is a card of one height.
import { useLayoutEffect, useRef, useState } from 'react';
import { nearsEnd, windowed } from '../logic/windowed';
import type { ColumnOf } from './Rows';
import classes from './LongRows.module.css';

export interface LongColumn<T> extends ColumnOf<T> {
  /** Width as a track of a grid, such as `2fr` or `120px`. */
  track: string;
  /** Left out where there is little room. */
  isWideOnly?: boolean;
  /** On a card it stands at the right of the first one. */
  isMark?: boolean;
}

interface LongRowsProps<T> {
  items: T[];
  columns: LongColumn<T>[];
  rowKey: (item: T) => string;
  label: string;
  /** Whether there is more than `items`. */
  hasMore?: boolean;
  loadMore?: () => void;
}

const ROW_PX = 45;
const CARD_PX = 90;
const NARROW = '(max-width: 700px)';

function useNarrow(): boolean {
  const [isNarrow, setNarrow] = useState(() => window.matchMedia(NARROW).matches);
  useLayoutEffect(() => {
    const query = window.matchMedia(NARROW);
    const look = () => setNarrow(query.matches);
    look();
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return isNarrow;
}

export function LongRows<T>({ items, columns, rowKey, label, hasMore, loadMore }: LongRowsProps<T>) {
  const isNarrow = useNarrow();
  const height = isNarrow ? CARD_PX : ROW_PX;
  const body = useRef<HTMLDivElement>(null);
  const [span, setSpan] = useState({ from: 0, to: 0 });
  const count = items.length;
  useLayoutEffect(() => {
    const look = () => {
      if (!body.current) return;
      const next = windowed(body.current.getBoundingClientRect().top, window.innerHeight, height, count);
      setSpan((now) => (now.from === next.from && now.to === next.to ? now : next));
    };
    look();
    // What stands above may change its height, too.
    const above = new ResizeObserver(look);
    above.observe(document.body);
    window.addEventListener('scroll', look, { passive: true });
    window.addEventListener('resize', look);
    return () => {
      above.disconnect();
      window.removeEventListener('scroll', look);
      window.removeEventListener('resize', look);
    };
  }, [count, height]);
  const wantsMore = hasMore && nearsEnd(span, count);
  useLayoutEffect(() => {
    if (wantsMore) loadMore?.();
  }, [wantsMore, loadMore, count]);
  const shown = isNarrow ? columns.filter((column) => !column.isWideOnly) : columns;
  const grid = isNarrow ? undefined : { gridTemplateColumns: shown.map((column) => `minmax(0, ${column.track})`).join(' ') };
  return (
    <div role="table" aria-label={label} aria-rowcount={hasMore ? -1 : count + 1} className={classes.rows}>
      <div role="rowgroup" className={classes.headGroup}>
        <div role="row" aria-rowindex={1} className={classes.head} style={grid}>
          {shown.map((column) => (
            <span key={column.name} role="columnheader" data-number={column.isNumber || undefined}>
              {column.name}
            </span>
          ))}
        </div>
      </div>
      <div role="rowgroup" ref={body} className={classes.body} style={{ height: count * height }}>
        {items.slice(span.from, span.to).map((item, at) => (
          <div key={rowKey(item)} role="row" aria-rowindex={span.from + at + 2} className={classes.row} style={{ ...grid, height, top: (span.from + at) * height }}>
            {shown.map((column) => (
              <span key={column.name} role="cell" data-name={column.name} data-number={column.isNumber || undefined} data-mark={column.isMark || undefined}>
                {column.cell(item)}
              </span>
            ))}
          </div>
        ))}
      </div>
    </div>
  );
}
