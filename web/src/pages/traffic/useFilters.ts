import { useUrl } from '../../state/url';
import { join, parse, type Query, type Term } from './query';

/** The query of the page, as text and as terms, and the terms that are set aside; all of it lives in the address. */
export function useFilters() {
  const [q, setQ] = useUrl('q');
  const [off, setOff] = useUrl('off');
  const query = parse(q);
  const aside = parse(off).terms;
  const put = (query: Query) => setQ(join(query), true);
  const putBoth = (query: Query, terms: Term[]) => {
    setQ(join(query), true);
    setOff(join({ terms, tail: '' }));
  };
  const putAside = (terms: Term[]) => setOff(join({ terms, tail: '' }));
  return { q, setQ: (text: string) => setQ(text, true), query, put, aside, putAside, putBoth };
}

export type Filters = ReturnType<typeof useFilters>;
