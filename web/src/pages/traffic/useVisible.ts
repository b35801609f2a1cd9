import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useLayoutEffect, useRef } from 'react';
import type { GridProps } from './Grid';
import { keyOf, type Item } from './rows';
import { rem } from './sizes';

const OVERSCAN = 12;
/** So many lines before the last one, more are asked for. */
const AHEAD = 20;

export interface Visible {
  index: number;
  key: string;
  item: Item;
  height: number;
}

/** The lines in sight, and how much room those before and behind them take. */
export function useVisible({ rows, more, onMore, active, grab, live, onAway }: GridProps, lineRem: number) {
  const scroll = useRef<HTMLDivElement>(null);
  const height = Math.round(lineRem * rem());
  // eslint-disable-next-line react-hooks/incompatible-library -- what it gives out is used here and now only
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => height,
    overscan: OVERSCAN,
  });
  useEffect(() => virtual.measure(), [virtual, height]);

  const place = active ? rows.indexOf(active) : -1;
  useEffect(() => {
    if (grab.current && place >= 0) virtual.scrollToIndex(place, { align: 'auto' });
  }, [virtual, place, grab]);

  const shown = virtual.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  const near = more && rows.length > 0 && last >= rows.length - AHEAD;
  useEffect(() => {
    if (near) onMore();
  }, [near, onMore, rows.length]);

  // Who reads further down, or points at a line, keeps the place while new lines come in at the top.
  const held = useRef<'no' | 'top' | 'down'>('no');
  const hold = () => {
    held.current = (scroll.current?.scrollTop ?? 0) > 0 ? 'down' : 'top';
  };
  const release = () => {
    if (held.current === 'top') scroll.current?.scrollTo({ top: 0 });
    held.current = 'no';
  };
  const top = keyOf(rows.at(0));
  const anchor = useRef(top);
  useLayoutEffect(() => {
    const moved = live && anchor.current ? rows.indexOf(anchor.current) : 0;
    anchor.current = top;
    const element = scroll.current;
    const keeps = element && (element.scrollTop > 0 || held.current !== 'no');
    if (keeps && moved > 0) element.scrollTop += moved * height;
  }, [rows, top, live, height]);

  const away = (virtual.scrollOffset ?? 0) > height;
  useEffect(() => onAway?.(away), [away, onAway]);

  const items: Visible[] = shown.flatMap(({ index }) => {
    const item = rows.at(index);
    return item ? [{ index, key: keyOf(item), item, height }] : [];
  });
  const before = shown[0]?.start ?? 0;
  const behind = virtual.getTotalSize() - (shown.at(-1)?.end ?? 0);
  const pointer = live ? { onPointerEnter: hold, onPointerLeave: release } : {};
  return { scroll, items, before, behind, pointer };
}
