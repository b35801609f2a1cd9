import type { Schemas } from '../../api/client';

/** How often something was lost, in all places together. */
export interface Loss {
  name: string;
  value: number;
}

/** Ends of the names of sources' counters that count losses (docs/metrics.md). */
const OF_SOURCES = [
  ...['_dropped', '_overruns', '_lost', '_malformed', '_unreadable', '_too_long', '_truncated', '_not_sent'],
  ...['_sets_expired', '_sets_overflowed', '_corrupt', '_torn_bytes', '_bad_blocks', '_bad_records'],
];
/** Counters of losses in the other places. */
const OF_PLACES: Record<string, string[]> = {
  connections: ['keyless', 'fragments', 'rulings-lost', 'reports-old'],
  history: ['gaps', 'damaged', 'bad_rows'],
  decisions: ['connections_displaced'],
};

/** What was lost, the most first. */
export function losses({ sources, store }: Schemas['Sources']): Loss[] {
  const own = sources.flatMap(({ name: place, counters }) =>
    counters.filter(({ name }) => OF_PLACES[place]?.includes(name) ?? OF_SOURCES.some((end) => name.endsWith(end))),
  );
  const sums = new Map<string, number>();
  for (const { name, value } of [...own, ...store.losses]) sums.set(name, (sums.get(name) ?? 0) + value);
  return [...sums]
    .filter(([, value]) => value > 0)
    .map(([name, value]) => ({ name, value }))
    .sort((one, other) => other.value - one.value);
}
