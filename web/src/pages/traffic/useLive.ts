import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { useApi } from '../../api/client';
import { Live, type Shown } from './live';

/** Connections that match as they come. Another query begins another tail. */
export function useLive(q: string, on: boolean, paused: boolean): Live {
  const { server } = useApi();
  // `on` is named so that who looks at the tail again begins with an empty one.
  const live = useMemo(() => ({ on, live: new Live(server, q) }).live, [server, q, on]);
  useEffect(() => {
    if (!on || paused) return;
    live.start();
    return () => live.stop();
  }, [live, on, paused]);
  return live;
}

/** A piece of what a tail shows: who uses it is drawn anew only where that piece is another one. */
export function useShown<T>(live: Live, piece: (shown: Shown) => T): T {
  return useSyncExternalStore(live.subscribe, () => piece(live.snapshot()));
}
