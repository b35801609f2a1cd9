/** How a number compares with the one before. */
export interface Change {
  way: 'more' | 'less' | 'same' | 'new';
  /** By which share of the one before. */
  by: number;
}

/** Nothing to say of none after none. Less than a hundredth is no change. */
export function change(now: number, before: number): Change | undefined {
  if (before === 0) return now === 0 ? undefined : { way: 'new', by: 0 };
  const by = Math.abs(now - before) / before;
  if (by < 0.01) return { way: 'same', by: 0 };
  return { way: now > before ? 'more' : 'less', by };
}
