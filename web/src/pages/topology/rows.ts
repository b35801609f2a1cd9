/** Moves the focus among the rows inside an element, as j and k do. */
export function moveRow(inside: HTMLElement | null, by: 1 | -1) {
  const rows = [...(inside?.querySelectorAll<HTMLElement>('[data-row]') ?? [])];
  const at = rows.findIndex((row) => row === document.activeElement);
  const next = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
  rows[next]?.focus();
}
