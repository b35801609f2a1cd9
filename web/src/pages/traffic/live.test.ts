import { afterEach, expect, test, vi } from 'vitest';
import type { Server } from '../../api/client';
import { Live } from './live';

afterEach(() => vi.unstubAllGlobals());

const connection = (id: string, seq: number) => ({
  id,
  seq,
  start: '2026-01-01T00:00:00Z',
  end: '2026-01-01T00:00:01Z',
  verdict: 'allowed',
  protocol: 'tcp',
  src: { ip: '10.0.0.1' },
  dst: { ip: '10.0.0.2' },
  counts: [],
  message: '',
});
const told = (number: number, id: string, seq = 0) =>
  `event: connection\nid: s-${number}\ndata: ${JSON.stringify(connection(id, seq))}\n\n`;

/** Answers one after the other, and what was asked. */
function server(answers: (string | Response)[]): { asked: string[]; server: Server } {
  const asked: string[] = [];
  const fetch = (input: RequestInfo | URL, init?: RequestInit) => {
    asked.push(String(input));
    const answer = answers.shift();
    if (answer instanceof Response) return Promise.resolve(answer);
    if (answer !== undefined) return Promise.resolve(new Response(answer));
    return new Promise<Response>((_, reject) =>
      init?.signal?.addEventListener('abort', () => reject(new Error('ended'))),
    );
  };
  return { asked, server: { base: 'http://x', fetch: fetch as typeof globalThis.fetch } };
}

test('after a break the stream goes on behind the last event, and tells what is lost', async () => {
  const { asked, server: one } = server([
    told(1, 'a') + told(2, 'b'),
    `event: lost\nid: s-9\ndata: {"updates":7}\n\n${told(10, 'a', 1)}`,
  ]);
  const live = new Live(one, 'port=80');
  live.start();
  await vi.waitFor(() => expect(live.snapshot().told).toMatchObject({ received: 3, connections: 2, lost: 7 }), 10_000);
  await vi.waitFor(() => expect(asked).toHaveLength(3), 10_000);
  expect(asked.map((url) => new URL(url).searchParams.get('after'))).toEqual([null, 's-2', 's-10']);
  expect(new URL(asked[0] ?? '').searchParams.get('q')).toBe('port=80');
  live.stop();
  await vi.waitFor(() => expect(live.snapshot().state).toBe('paused'));
});

test('a wrong query is not asked again', async () => {
  const problem = { type: 'x', title: 'The query is wrong', status: 400, detail: 'no', report: 'no\n^' };
  const { asked, server: one } = server([Response.json(problem, { status: 400 })]);
  const live = new Live(one, 'x');
  live.start();
  await vi.waitFor(() => expect(live.snapshot().state).toBe('refused'));
  expect(live.snapshot().error).toMatchObject({ problem });
  expect(asked).toHaveLength(1);
});
