/** Where places stand. */
export type Places = Record<string, { x: number; y: number }>;

/** What is to be arranged. */
export interface Plan {
  nodes: { id: string; parent?: string; size: number }[];
  /** Each pair once. */
  pairs: { from: string; to: string }[];
  /** Where places stand already; they stay about there. */
  known: Places;
}

/** Milliseconds after which the places are put into rows instead. */
const PATIENCE = 8000;

/** Arranges places in a worker, so that the page stays usable; in a bounded time. */
export function arrange(plan: Plan, signal: AbortSignal): Promise<Places> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./layout.worker.ts', import.meta.url), { type: 'module' });
    const end = (places: Places) => {
      worker.terminate();
      clearTimeout(timer);
      resolve(places);
    };
    const timer = setTimeout(() => end(rows(plan)), PATIENCE);
    worker.onmessage = ({ data }: MessageEvent<Places>) => end(data);
    worker.onerror = () => end(rows(plan));
    signal.addEventListener('abort', () => end({}));
    worker.postMessage(plan);
  });
}

const APART = 110;

/** Places in rows, those of a group together. Takes no time, however many there are. */
export function rows({ nodes }: Plan): Places {
  const groups = new Set(nodes.flatMap(({ parent }) => parent ?? []));
  const leaves = nodes.filter(({ id }) => !groups.has(id));
  leaves.sort((one, other) => (one.parent ?? '').localeCompare(other.parent ?? ''));
  const wide = Math.ceil(Math.sqrt(leaves.length));
  return Object.fromEntries(
    leaves.map(({ id }, index) => [id, { x: (index % wide) * APART, y: Math.floor(index / wide) * APART }]),
  );
}
