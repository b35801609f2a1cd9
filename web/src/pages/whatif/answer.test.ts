import { expect, test } from 'vitest';
import { decided, endOf, notes, portOf, problems, queryOf, type Change, type Pair } from './answer';

const pair: Pair = {
  from: { address: '10.0.0.1', endpoint: { kind: 'pod', namespace: 'shop', name: 'catalog-0' } },
  to: { address: '8.8.8.8', endpoint: null },
  service: null,
  protocol: 6,
  port: 9200,
  connections: 3,
  allowed: 0,
  denied: 3,
  first: '2026-11-23T17:00:00Z',
  last: '2026-11-23T17:01:00Z',
};
const origin = (line: number, file = 'policies') => ({
  object: 'NetworkPolicy data/x',
  rule: 'ingress[0]',
  file,
  line,
});
const change = (change: Change['change'], ...origins: ReturnType<typeof origin>[]): Change => ({
  change,
  pair,
  before: { verdict: 'dropped', by: [] },
  after: { verdict: 'allowed', by: [{ action: 'allow', sentence: 'Allowed', side: 'Ingress', origins }] },
});

test('pairs are named, and found again by a query', () => {
  expect(endOf(pair.from)).toBe('shop/catalog-0');
  expect(endOf(pair.to)).toBe('8.8.8.8');
  expect(endOf({ address: '1.2.3.4', endpoint: { kind: 'node', name: 'n1' } })).toBe('node/n1');
  expect(portOf(pair)).toBe('9200/tcp');
  expect(portOf({ ...pair, protocol: 1, port: null })).toBe('icmp');
  expect(queryOf(pair)).toBe(
    'src.namespace=shop and src.pod=catalog-0 and dst.ip=8.8.8.8 and dst.port=9200 and protocol=tcp',
  );
});

test('lines of the text, and of no other, tell what they decide', () => {
  const changes = [
    change('opened', origin(7), origin(7)),
    change('opened', origin(7)),
    change('closed', origin(9, 'a')),
  ];
  expect(decided(changes)).toEqual(new Map([[7, { opened: 6, closed: 0 }]]));
  expect(notes(changes, (change, count) => `${change} ${count}`)).toEqual([
    { line: 7, text: 'opened 6', tone: 'success' },
  ]);
});

test('mistakes are problems with places', () => {
  expect(
    problems([
      { severity: 'error', code: 'x', message: 'wrong', line: 2, column: 3, end_line: 2, end_column: 5 },
      { severity: 'note', code: 'y', message: 'all of it', line: null },
    ]),
  ).toEqual([
    { severity: 'error', message: 'wrong', line: 2, column: 3, endLine: 2, endColumn: 5 },
    { severity: 'info', message: 'all of it' },
  ]);
});
