import { expect, test } from 'vitest';
import { change } from './change';
import { unisolated } from './isolation';

test('a change is told against what was before', () => {
  expect(change(0, 0)).toBeUndefined();
  expect(change(3, 0)).toEqual({ way: 'new', by: 0 });
  expect(change(150, 100)).toEqual({ way: 'more', by: 0.5 });
  expect(change(50, 100)).toEqual({ way: 'less', by: 0.5 });
  expect(change(0, 100)).toEqual({ way: 'less', by: 1 });
  expect(change(1001, 1000)).toEqual({ way: 'same', by: 0 });
});

test('a namespace is without policies where no NetworkPolicy is in force there', () => {
  const namespace = (name: string, workloads: number, connections: number) => ({
    name,
    workloads,
    out: { connections, dropped: 0, rejected: 0 },
    in: { connections: 0, dropped: 0, rejected: 0 },
  });
  const namespaces = [
    namespace('shop', 3, 9),
    namespace('quiet', 1, 0),
    namespace('edge', 2, 5),
    namespace('gone', 0, 4),
    namespace('deleted', 2, 3),
    namespace('walled', 1, 1),
  ];
  const policies = [
    { owner: { kind: 'NetworkPolicy', namespace: 'shop', name: 'a' }, rules: 2 },
    { owner: { kind: 'NetpolNamespace', namespace: 'walled' }, rules: 4 },
    { owner: { kind: 'NetworkPolicy', namespace: 'deleted', name: 'b' }, rules: 0 },
    { owner: { kind: 'EgressFirewall', namespace: 'edge' }, rules: 1 },
    { owner: { kind: 'AdminNetworkPolicy', name: 'c' }, rules: 1 },
  ];
  expect(unisolated(namespaces, policies).map(({ name }) => name)).toEqual(['edge', 'deleted', 'quiet']);
});
