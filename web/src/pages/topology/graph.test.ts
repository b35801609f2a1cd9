import { describe, expect, test } from 'vitest';
import {
  bounded,
  clause,
  fields,
  focusClause,
  found,
  graph,
  groupOf,
  groupsOf,
  rate,
  step,
  touched,
  trail,
  workloadOf,
  type Edge,
  type Place,
  type View,
} from './graph';

describe('the workload of a pod, by its name', () => {
  test.each([
    ['web-0', 'web'],
    ['web-7d9cbb6c5f-x2x4v', 'web'],
    ['coredns-5d78c9869d-abcde', 'coredns-5d78c9869d-abcde'],
    ['coredns-5d78c9869d-9kxzt', 'coredns'],
    ['agent-zk9vd', 'agent'],
    ['backup-28391234-x2x4v', 'backup'],
    ['kube-proxy', 'kube-proxy'],
    ['web', 'web'],
    ['-0', '-0'],
  ])('%s is of %s', (pod, workload) => expect(workloadOf(pod)).toBe(workload));
});

const COLUMNS = [
  'src.namespace',
  'src.kind',
  'src.name',
  'src.node',
  'dst.namespace',
  'dst.kind',
  'dst.name',
  'dst.node',
  'verdict',
  'count',
  'sum(packets)',
  'sum(reply.packets)',
  'max(end)',
];
const LINES = [
  ['shop', 'pod', 'web-0', 'n1', 'data', 'pod', 'redis-0', 'n2', 'allowed', 10, 20, 5, '2026-11-23T12:00:02Z'],
  ['shop', 'pod', 'web-1', 'n1', 'data', 'pod', 'redis-0', 'n2', 'allowed', 5, 10, 5, '2026-11-23T12:00:03Z'],
  ['shop', 'pod', 'web-1', 'n1', 'data', 'pod', 'redis-0', 'n2', 'dropped', 1, 1, 0, '2026-11-23T12:00:01Z'],
  ['shop', 'pod', 'web-0', 'n1', null, 'external', null, null, 'allowed', 3, 3, 3, '2026-11-23T12:00:00Z'],
  ['edge', 'pod', 'gate-0', 'n2', 'data', 'pod', 'redis-0', 'n2', 'allowed', 7, 7, 7, '2026-11-23T12:00:00Z'],
];
const told = (view: View) => graph([{ columns: COLUMNS, lines: LINES } as never], view);
const shown = ({ edges }: { edges: Edge[] }) =>
  edges.map(({ from, to, verdict, connections }) => [from, to, verdict, connections]);

describe('what the server told', () => {
  test('by namespace, denied first', () => {
    expect(shown(told({ by: 'namespace', focus: '' }))).toEqual([
      ['namespace::shop:', 'namespace::data:', 'dropped', 1],
      ['namespace::shop:', 'namespace::data:', 'allowed', 15],
      ['namespace::edge:', 'namespace::data:', 'allowed', 7],
      ['namespace::shop:', 'namespace:external::', 'allowed', 3],
    ]);
  });
  test('counts are added up, the last time is the last', () => {
    const edge = told({ by: 'workload', focus: '' }).edges[1];
    expect(edge).toMatchObject({ connections: 15, packets: 40, last: '2026-11-23T12:00:03Z' });
  });
  test('what is outside of the focus stands one level higher, what does not touch it is not there', () => {
    expect(shown(told({ by: 'workload', focus: 'shop' }))).toEqual([
      ['workload:pod:shop:web', 'namespace::data:', 'dropped', 1],
      ['workload:pod:shop:web', 'namespace::data:', 'allowed', 15],
      ['workload:pod:shop:web', 'namespace:external::', 'allowed', 3],
    ]);
    const pods = told({ by: 'pod', focus: 'shop/web' });
    expect([...pods.places.keys()].sort()).toEqual([
      'pod:pod:shop:web-0',
      'pod:pod:shop:web-1',
      'workload:external::',
      'workload:pod:data:redis',
    ]);
  });
  test('by node, what lives on none is by its kind', () => {
    expect([...told({ by: 'node', focus: '' }).places.keys()].sort()).toEqual([
      'node:::n1',
      'node:::n2',
      'node:external::',
    ]);
    expect([...told({ by: 'pod', focus: 'node:n1' }).places.keys()].sort()).toEqual([
      'node:::n2',
      'node:external::',
      'pod:pod:shop:web-0',
      'pod:pod:shop:web-1',
    ]);
  });
  test('a place within itself is counted once', () => {
    const line = ['a', 'pod', 'x-0', 'n', 'a', 'pod', 'x-1', 'n', 'dropped', 4, 0, 0, ''];
    const { places } = graph([{ columns: COLUMNS, lines: [line] } as never], { by: 'namespace', focus: '' });
    expect(places.get('namespace::a:')).toMatchObject({ connections: 4, denied: 4 });
  });
});

test('only fields that tell places apart are asked for', () => {
  expect(fields({ by: 'namespace', focus: '' })).toEqual(['src.namespace', 'src.kind', 'dst.namespace', 'dst.kind']);
  expect(fields({ by: 'pod', focus: 'shop/web' })).toContain('dst.node');
  expect(fields({ by: 'workload', focus: 'shop' })).toContain('src.name');
});

test('a bound keeps all that is denied and the heaviest of the rest, and says how many are left out', () => {
  const { edges } = told({ by: 'namespace', focus: '' });
  expect(bounded(edges, 2)).toEqual({ drawn: edges.slice(0, 2), left: 2 });
  expect(bounded(edges, 0)).toEqual({ drawn: edges.slice(0, 1), left: 3 });
  expect(bounded(edges, 100)).toEqual({ drawn: edges, left: 0 });
  const all = told({ by: 'namespace', focus: '' });
  expect(touched(all, all.edges.slice(0, 2)).map(({ namespace }) => namespace)).toEqual(['shop', 'data']);
});

test('stepping in goes from namespace to workload to pod, the trail leads back', () => {
  const first = (view: View, id: string) => told(view).places.get(id) as Place;
  const shop = step(first({ by: 'namespace', focus: '' }, 'namespace::shop:'));
  expect(shop).toEqual({ by: 'workload', focus: 'shop' });
  const web = step(first({ by: 'workload', focus: 'shop' }, 'workload:pod:shop:web'));
  expect(web).toEqual({ by: 'pod', focus: 'shop/web' });
  expect(step(first({ by: 'pod', focus: 'shop/web' }, 'pod:pod:shop:web-0'))).toBeUndefined();
  expect(step(first({ by: 'namespace', focus: '' }, 'namespace:external::'))).toBeUndefined();
  expect(step(first({ by: 'node', focus: '' }, 'node:::n1'))).toEqual({ by: 'pod', focus: 'node:n1' });
  expect(trail('shop/web').map(({ by, focus }) => [by, focus])).toEqual([
    ['namespace', ''],
    ['workload', 'shop'],
    ['pod', 'shop/web'],
  ]);
  expect(trail('node:n1').map(({ by }) => by)).toEqual(['node', 'pod']);
  expect(trail('')).toHaveLength(1);
});

test('the connections of a place are found by a query', () => {
  const of = (view: View, id: string) => clause('src', told(view).places.get(id) as Place);
  expect(of({ by: 'namespace', focus: '' }, 'namespace::shop:')).toBe('src.namespace=shop');
  expect(of({ by: 'namespace', focus: '' }, 'namespace:external::')).toBe('src.kind=external');
  expect(of({ by: 'workload', focus: '' }, 'workload:pod:shop:web')).toBe(
    'src.kind=pod and src.namespace=shop and src.name in (web-0, web-1)',
  );
  expect(of({ by: 'pod', focus: '' }, 'pod:pod:shop:web-0')).toBe('src.pod=shop/web-0');
  expect(of({ by: 'node', focus: '' }, 'node:::n1')).toBe('src.node=n1');
  expect(focusClause('shop/web')).toBe(
    '(src.namespace=shop and src.name~web* or dst.namespace=shop and dst.name~web*)',
  );
  expect(focusClause('node:n1')).toBe('(src.node=n1 or dst.node=n1)');
  expect(focusClause('')).toBe('');
});

test('groups are those that places of the level have', () => {
  const pod = told({ by: 'pod', focus: '' }).places.get('pod:pod:shop:web-0') as Place;
  expect(groupsOf('pod').map((group) => groupOf(pod, group))).toEqual(['', 'shop', 'shop/web', 'n1']);
  expect(groupsOf('namespace')).toEqual(['none']);
});

test('places are found by all words', () => {
  const places = [...told({ by: 'pod', focus: '' }).places.values()];
  expect(found(places, 'SHOP/web 0').map(({ name }) => name)).toEqual(['web-0']);
  expect(found(places, 'n2')).toHaveLength(2);
  expect(found(places, ' ')).toEqual([]);
});

test('rates are in the unit in which they are at least one', () => {
  expect(rate(600, 60)).toEqual({ value: 10, per: 's' });
  expect(rate(30, 60)).toEqual({ value: 30, per: 'min' });
  expect(rate(1, 3600)).toEqual({ value: 1, per: 'h' });
  expect(rate(0, 60)).toEqual({ value: 0, per: 's' });
});
