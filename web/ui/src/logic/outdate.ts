// Marks answers as out of date, so that they are asked for again: those on the screen now, the others when they are wanted.
import type { QueryClient, QueryFilters } from '@tanstack/react-query';

/** First answers after which their query is marked once more. */
const awaited = new WeakSet<object>();

/**
 * An answer that is on its way for the first time may have been given before what happened, and is not asked for again by its being marked:
 * so it is marked once more when it is there. To break it off instead would be no better: events that come faster than answers would leave a
 * screen without any.
 */
export function outdate(queries: QueryClient, filters: QueryFilters = {}): void {
  const first = queries.getQueryCache().findAll({ ...filters, fetchStatus: 'fetching' }).filter((query) => query.state.data === undefined && !awaited.has(query));
  void queries.invalidateQueries(filters);
  for (const query of first) {
    awaited.add(query);
    const over = () => awaited.delete(query);
    const again = () => {
      over();
      void queries.invalidateQueries({ queryKey: query.queryKey, exact: true });
    };
    // A failure is shown, and tried again, where the answer was wanted.
    query.promise?.then(again, over);
  }
}
