import { expect, test } from 'vitest';
import type { Connection, Half, Verdict } from '../../api/client';
import { fold } from './fold';
import { Ring } from './ring';
import { Tail } from './tail';

/** Numbers that look like chance and are the same each time (mulberry32). */
function chance(seed: number) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const VERDICTS: Verdict[] = ['unknown', 'delegated', 'allowed', 'rejected', 'dropped'];
const time = (second: number) => new Date(second * 1000).toISOString();

function half(verdict: Verdict, second: number): Half {
  const message = `${verdict} at ${second}`;
  return { since: time(second), zone: 'a', verdict, evidence: 'point', message };
}

function update(id: string, seq: number, random: () => number): Connection {
  const pick = () => VERDICTS[Math.floor(random() * VERDICTS.length)] ?? 'unknown';
  const second = Math.floor(random() * 1e6);
  const egress = half(pick(), second);
  const ingress = half(pick(), second + 1);
  const tally = () => ({ packets: 1 + Math.floor(random() * 9), bytes: Math.floor(random() * 999) });
  const probability = random() < 0.5 ? 0.5 : 1;
  return {
    id,
    seq,
    start: time(second),
    end: time(second + 5),
    verdict: pick(),
    protocol: 'tcp',
    src: { ip: '10.0.0.1', port: 1 },
    dst: { ip: '10.0.0.2', port: 2 },
    ...(random() < 0.7 && { egress }),
    ...(random() < 0.7 && { ingress }),
    ...(random() < 0.2 && { changes: [{ half: 'ingress' as const, ...half(pick(), second) }] }),
    tcp_flags: random() < 0.5 ? 'SYN' : 'FIN,ACK',
    counts: [{ probability, original: tally(), reply: tally(), dropped: { packets: 0, bytes: 0 } }],
    message: '',
  } as Connection;
}

function shuffled<T>(values: T[], random: () => number): T[] {
  const all = [...values];
  for (let at = all.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other] as T, all[at] as T];
  }
  return all;
}

const packets = (connection: Connection) =>
  connection.counts.reduce((sum, { original, reply }) => sum + original.packets + reply.packets, 0);
const rowsOf = (tail: Tail) => {
  const rows = tail.rows();
  return Array.from({ length: rows.length }, (_, index) => {
    const item = rows.at(index);
    if (item?.kind !== 'connection') throw new Error('not a connection');
    return item.connection;
  });
};

/** Its keys in one order. */
const tidy = (connection: Connection) => Object.entries(connection).sort(([a], [b]) => (a < b ? -1 : 1));

test('60,000 updates that come twice and in any order are the rows that they are in order', () => {
  const random = chance(1);
  const updates = Array.from({ length: 60_000 }, (_, at) => update(`c${at % 17_000}`, Math.floor(at / 17_000), random));
  const copies = updates.filter(() => random() < 0.1);
  const ordered = new Tail();
  for (const one of updates) ordered.take(one);
  const mixed = new Tail();
  for (const one of shuffled([...updates, ...copies], random)) mixed.take(one);

  expect(mixed.counts()).toEqual({
    received: 60_000,
    repeated: copies.length,
    connections: 17_000,
    lost: 0,
    unknown: false,
    left: 0,
  });
  const sorted = (tail: Tail) => rowsOf(tail).sort((a, b) => (a.id < b.id ? -1 : 1));
  const [one, other] = [sorted(ordered), sorted(mixed)];
  expect(other.filter((row, at) => JSON.stringify(tidy(row)) !== JSON.stringify(tidy(one[at] as Connection)))).toEqual(
    [],
  );
  const sum = (all: Connection[]) => all.reduce((sum, connection) => sum + packets(connection), 0);
  expect(sum(rowsOf(mixed))).toBe(sum(updates));
});

test('60,000 connections: none is lost, the youngest stay, and it is told how many left', () => {
  const random = chance(2);
  const tail = new Tail(5000);
  for (let at = 0; at < 60_000; at++) tail.take(update(`c${at}`, 0, random));
  expect(tail.counts()).toMatchObject({ received: 60_000, connections: 60_000, lost: 0, left: 55_000 });
  const rows = rowsOf(tail);
  expect(rows).toHaveLength(5000);
  expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 5000 }, (_, index) => `c${59_999 - index}`));
  expect(tail.rows().indexOf('c59999')).toBe(0);
  expect(tail.rows().indexOf('c55000')).toBe(4999);
  expect(tail.rows().indexOf('c54999')).toBe(-1);
});

test('an update of a row that has left begins another row', () => {
  const random = chance(3);
  const tail = new Tail(2);
  ['a', 'b', 'c'].forEach((id) => tail.take(update(id, 0, random)));
  tail.take(update('a', 1, random));
  expect(rowsOf(tail).map(({ id }) => id)).toEqual(['a', 'c']);
  expect(tail.counts()).toMatchObject({ received: 4, connections: 4, left: 2 });
});

test('losses stand where they happened', () => {
  const random = chance(4);
  const tail = new Tail();
  tail.take(update('a', 0, random));
  tail.lose(7);
  tail.take(update('b', 0, random));
  tail.lose(null);
  const rows = tail.rows();
  expect([0, 1, 2, 3].map((index) => rows.at(index)?.kind)).toEqual(['lost', 'connection', 'lost', 'connection']);
  expect(tail.counts()).toMatchObject({ received: 2, lost: 7, unknown: true });
});

test('updates fold in any order', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = chance(seed);
    const updates = Array.from({ length: 5 }, (_, seq) => update('x', seq, random));
    const whole = updates.reduce(fold);
    expect(shuffled(updates, random).reduce(fold)).toEqual(whole);
    const [a, b, c, d, e] = updates as [Connection, Connection, Connection, Connection, Connection];
    expect(fold(fold(a, b), fold(c, fold(d, e)))).toEqual(whole);
  }
});

test('a backend goes before the address of the service, and a name before none', () => {
  const random = chance(5);
  const service = { ip: '10.96.0.1', port: 80, name: 'web', namespace: 'shop' };
  const early = { ...update('x', 0, random), service, dst: { ip: '10.96.0.1', port: 80 } };
  const late = { ...update('x', 1, random), dst: { ip: '10.0.0.7', port: 8080, kind: 'pod' as const, pod: 'web-0' } };
  for (const whole of [fold(early, late), fold(late, early)]) {
    expect(whole.dst).toEqual(late.dst);
    expect(whole.service).toEqual(service);
  }
});

test('a ring gives back what had to go', () => {
  const ring = new Ring<string>(2);
  expect([ring.push('a'), ring.push('b'), ring.push('c')]).toEqual([undefined, undefined, 'a']);
  expect([0, 1, 2, 3].map((number) => ring.at(number))).toEqual([undefined, 'b', 'c', undefined]);
});
