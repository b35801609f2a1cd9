import { useUrl, useUrls } from './url';

/** Times as the API takes them: `-5m`, `now`, RFC 3339. */
export interface Range {
  since: string;
  until: string;
}

export const LAST = ['-5m', '-15m', '-30m', '-1h', '-2h', '-6h', '-12h', '-1d', '-2d', '-7d', '-14d'] as const;

const SINCE = '-5m';
const UNTIL = 'now';

/** The time that all pages ask about: `since` and `until` in their address, else what is usual on the page. */
export function useRange(usual: string = SINCE): [Range, (range: Range) => void] {
  const [since] = useUrl('since', usual);
  const [until] = useUrl('until', UNTIL);
  const change = useUrls();
  const set = (range: Range) =>
    change(
      {
        since: range.since === usual ? null : range.since,
        until: range.until === UNTIL ? null : range.until,
      },
      true,
    );
  return [{ since, until }, set];
}

/** Every how many milliseconds a page asks again; false for never. In `refresh`, in seconds. */
export function useRefresh(): [number | false, (seconds: string) => void] {
  const [seconds, set] = useUrl('refresh', '');
  const every = Number(seconds);
  return [every > 0 ? every * 1000 : false, (value) => set(value)];
}
