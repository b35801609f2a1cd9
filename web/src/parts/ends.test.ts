import { expect, test } from 'vitest';
import type { Owner } from '../api/client';
import { objectOf } from './ends';

test('owners of ACLs are named as objects where there is one', () => {
  const of = (owner: object) => objectOf(owner as Owner);
  expect(of({ kind: 'NetworkPolicy', namespace: 'shop', name: 'web' })).toBe('NetworkPolicy/shop/web');
  expect(of({ kind: 'AdminNetworkPolicy', name: 'platform' })).toBe('AdminNetworkPolicy/platform');
  expect(of({ kind: 'EgressFirewall', namespace: 'shop' })).toBe('EgressFirewall/shop/default');
  expect(of({ kind: 'NetpolNamespace', namespace: 'shop' })).toBeUndefined();
  expect(of({ kind: 'Unowned' })).toBeUndefined();
});
