import { asProblem, ProblemError, type Connection, type Server } from '../../api/client';
import { events, type ServerEvent } from '../../api/events';
import { Tail, type Told } from './tail';
import type { Rows } from './rows';

export type LiveState = 'paused' | 'connecting' | 'live' | 'waiting' | 'refused';

/** What the page shows of the tail: another one for each picture that is drawn. */
export interface Shown {
  state: LiveState;
  rows: Rows;
  told: Told;
  error: Error | null;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
/** So many milliseconds of taking in, then the screen has its turn. */
const TURN = 8;
/** Between two pictures of a tail that runs faster than anybody reads, so that the page answers meanwhile. */
const PICTURE = 200;

/**
 * Reads the live stream into a tail. After a break, wanted or not, it goes on behind the last event that came; the
 * server tells what is gone by then. What comes is taken at once, and shown with a picture of the screen soon after.
 */
export class Live {
  private readonly tail = new Tail();
  private readonly listeners = new Set<() => void>();
  private reading: AbortController | undefined;
  private last = '';
  private state: LiveState = 'paused';
  private error: Error | null = null;
  private frame = 0;
  private drawn = -PICTURE;
  private shown: Shown = this.look();

  constructor(
    private readonly server: Server,
    private readonly q: string,
  ) {}

  readonly bound = this.tail.bound;

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = () => this.shown;

  start() {
    if (this.reading) return;
    this.reading = new AbortController();
    void this.read(this.reading.signal);
  }

  stop() {
    this.reading?.abort();
    this.reading = undefined;
    this.turn('paused');
  }

  private async read(signal: AbortSignal) {
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      this.turn('connecting');
      try {
        const response = await this.server.fetch(this.url(), { signal });
        if (!response.ok) throw await refusal(response);
        this.turn('live');
        wait = FIRST_WAIT;
        if (response.body) await this.takeAll(response.body);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ProblemError && error.problem.status < 500 && error.problem.status !== 429) {
          this.reading = undefined;
          this.turn('refused', error);
          return;
        }
      }
      if (signal.aborted) return;
      this.turn('waiting');
      await passed(wait, signal);
      wait = Math.min(LONGEST_WAIT, wait * 2);
    }
  }

  private async takeAll(body: ReadableStream<Uint8Array>) {
    let began = performance.now();
    for await (const event of events(body)) {
      this.take(event);
      if (performance.now() - began < TURN) continue;
      await new Promise((resolve) => setTimeout(resolve));
      began = performance.now();
    }
  }

  private url(): string {
    const params = new URLSearchParams({ ...(this.q && { q: this.q }), ...(this.last && { after: this.last }) });
    return `${this.server.base}/api/v1/live?${params}`;
  }

  private take({ event, data, id }: ServerEvent) {
    if (id) this.last = id;
    if (event === 'connection') this.tail.take(JSON.parse(data) as Connection);
    else if (event === 'lost') this.tail.lose((JSON.parse(data) as { updates: number | null }).updates);
    this.draw();
  }

  private turn(state: LiveState, error: Error | null = null) {
    this.state = state;
    this.error = error;
    this.draw();
  }

  private draw() {
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      if (now - this.drawn < PICTURE) {
        this.draw();
        return;
      }
      this.drawn = now;
      this.shown = this.look();
      this.listeners.forEach((listener) => listener());
    });
  }

  private look(): Shown {
    return { state: this.state, error: this.error, rows: this.tail.rows(), told: this.tail.counts() };
  }
}

async function refusal(response: Response): Promise<ProblemError> {
  const said: unknown = await response.json().catch(() => undefined);
  return new ProblemError(asProblem(said, response));
}

function passed(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
