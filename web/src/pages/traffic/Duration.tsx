const NUMBER = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

/** How long something took. */
export function Duration({ start, end }: { start: string; end: string }) {
  return <>{duration(Date.parse(end) - Date.parse(start))}</>;
}

/** Milliseconds with a unit. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${NUMBER.format(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${NUMBER.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
