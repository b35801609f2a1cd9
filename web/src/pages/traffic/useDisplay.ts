import { useMemo } from 'react';
import { useStored } from '../../state/stored';
import { useUrl } from '../../state/url';
import { DEFAULT, named, type ColumnId } from './columns';
import { isSize, type Size } from './sizes';
import { LIMITS } from './Toolbar';

/**
 * How connections are shown: as the address says, else as this browser remembers. What is chosen goes to both, so
 * that a copied link shows the same.
 */
export function useDisplay() {
  const [storedColumns, storeColumns] = useStored<readonly string[]>('traffic.columns', DEFAULT);
  const [storedSize, storeSize] = useStored<string>('traffic.size', 'normal');
  const [storedLimit, storeLimit] = useStored('traffic.limit', 100);
  const [histogram, setHistogram] = useStored('traffic.histogram', true);
  const [urlColumns, setUrlColumns] = useUrl('columns');
  const [urlSize, setUrlSize] = useUrl('size');
  const [urlLimit, setUrlLimit] = useUrl('limit');
  const size = urlSize || storedSize;
  const limit = Number(urlLimit) || storedLimit;
  const ids = urlColumns ? urlColumns.split(',') : storedColumns;
  const list = ids.join();
  return {
    columns: useMemo(() => named(list.split(',')), [list]),
    size: isSize(size) ? size : ('normal' as const),
    limit: LIMITS.find((one) => one === limit) ?? 100,
    histogram,
    setColumns: (ids: readonly ColumnId[]) => {
      storeColumns(ids);
      setUrlColumns(ids.join());
    },
    setSize: (size: Size) => {
      storeSize(size);
      setUrlSize(size);
    },
    setLimit: (limit: number) => {
      storeLimit(limit);
      setUrlLimit(String(limit));
    },
    setHistogram,
  };
}

export type Display = ReturnType<typeof useDisplay>;
