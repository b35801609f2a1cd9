import type { Schemas } from '../../api/client';
import strings from '../../strings/en/health';

/** Something that a place counted and that ought to be zero. */
export interface Loss {
  place: string;
  name: string;
  value: number;
}

/** The name that a counter's words are found under: sources of the same kind say the same. */
export const wordOf = (name: string) => name.replace(/^psample_unix_/, 'psample_');

/** What counts something that ought not to be. */
const isLoss = (name: string) => wordOf(name) in strings.todo;

/** All losses, place by place, the greatest of a place first. The store's are all of them losses. */
export function losses({ sources, store }: Schemas['Sources']): Loss[] {
  const places = sources.map(({ name, counters }) => ({
    place: name,
    counters: counters.filter((counter) => isLoss(counter.name)),
  }));
  return [...places, { place: 'store', counters: store.losses }].flatMap(({ place, counters }) =>
    counters
      .filter(({ value }) => value > 0)
      .sort((a, b) => b.value - a.value)
      .map(({ name, value }) => ({ place, name, value })),
  );
}
