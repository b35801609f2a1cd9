import { useMemo } from 'react';
import { useUrl, useUrls } from '../../state/url';
import { join, parse, type Query, type Term } from './query';

/** The query of the page, as text and as terms, and the terms that are set aside; all of it lives in the address. */
export function useFilters() {
  const [q] = useUrl('q');
  const [off] = useUrl('off');
  const change = useUrls();
  return useMemo(() => {
    const query = parse(q);
    const aside = parse(off).terms;
    const putBoth = (query: Query, terms: Term[]) =>
      change({ q: join(query) || null, off: join({ terms, tail: '' }) || null }, true);
    return {
      q,
      setQ: (text: string) => change({ q: text || null }, true),
      query,
      put: (query: Query) => putBoth(query, aside),
      aside,
      putAside: (terms: Term[]) => putBoth(query, terms),
      putBoth,
    };
  }, [q, off, change]);
}

export type Filters = ReturnType<typeof useFilters>;
