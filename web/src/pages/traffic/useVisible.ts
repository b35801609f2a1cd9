import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { GridProps } from './Grid';
import { keyOf, type Item } from './rows';
import { rem } from './sizes';
import { Slots } from './slots';

/** So many lines are there beyond those in sight, on either side. */
const OVERSCAN = 6;
/** So many lines before the last one, more are asked for. */
const AHEAD = 20;

export interface Visible {
  index: number;
  key: string;
  /** Its place on the screen, for React to know it by. */
  slot: number;
  item: Item;
  height: number;
}

/** The lines in sight, and how much room those before and behind them take. All are of one height. */
export function useVisible({ rows, more, onMore, active, grab, live, onAway }: GridProps, lineRem: number) {
  const height = Math.round(lineRem * rem());
  const { scroll, first, count, away, look } = useWindow(height);

  const place = active ? rows.indexOf(active) : -1;
  useEffect(() => {
    const element = scroll.current;
    if (!element || !grab.current || place < 0) return;
    const head = element.querySelector('thead')?.offsetHeight ?? 0;
    const least = (place + 1) * height + head - element.clientHeight;
    const top = Math.max(least, Math.min(element.scrollTop, place * height));
    if (top !== element.scrollTop) element.scrollTo({ top });
  }, [scroll, place, grab, height]);

  const begin = Math.max(0, Math.min(first, rows.length - count) - OVERSCAN);
  const end = Math.min(rows.length, first + count + OVERSCAN);
  const near = more && rows.length > 0 && end > rows.length - AHEAD;
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
    if (!keeps || moved <= 0) return;
    element.scrollBy({ top: moved * height, behavior: 'instant' });
    look();
  }, [scroll, rows, top, live, height, look]);

  useEffect(() => onAway?.(away), [away, onAway]);

  const slots = useMemo(() => new Slots(), []);
  const lines = Array.from({ length: Math.max(0, end - begin) }, (_, at) => begin + at).flatMap((index) => {
    const item = rows.at(index);
    return item ? [{ index, key: keyOf(item), item, height }] : [];
  });
  const places = slots.place(
    lines.map(({ key }) => key),
    active,
  );
  const items: Visible[] = lines.map((line, at) => ({ ...line, slot: places[at] ?? at }));
  const pointer = live ? { onPointerEnter: hold, onPointerLeave: release } : {};
  return { scroll, items, before: begin * height, behind: Math.max(0, rows.length - end) * height, pointer };
}

/** The first line in sight and how many there is room for; `look` looks at once. */
function useWindow(height: number) {
  const scroll = useRef<HTMLDivElement>(null);
  const [window, set] = useState({ first: 0, count: 0, away: false });
  const look = useCallback(() => {
    const element = scroll.current;
    if (!element) return;
    const first = Math.floor(element.scrollTop / height);
    const count = Math.ceil(element.clientHeight / height);
    const away = element.scrollTop > height;
    set((was) => (was.first === first && was.count === count && was.away === away ? was : { first, count, away }));
  }, [height]);
  useLayoutEffect(() => {
    const element = scroll.current;
    if (!element) return;
    const resized = new ResizeObserver(look);
    resized.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      resized.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, [look]);
  return { scroll, ...window, look };
}
