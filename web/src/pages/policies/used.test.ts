import { expect, test } from 'vitest';
import { defaultDeny, isUnused, listed, policies, ruleKey, silence, type UsedRule } from './used';

const rule = (owner: object, more: Partial<UsedRule> = {}): UsedRule => ({
  owner: owner as UsedRule['owner'],
  action: 'allow-related',
  zones: ['a'],
  sampled: true,
  connections: 0,
  packets: 0,
  dropped_packets: 0,
  ...more,
});
const web = (index: number, protocol = 'tcp') => ({
  kind: 'NetworkPolicy',
  namespace: 'shop',
  name: 'web',
  direction: 'Ingress',
  rule: { index, protocol },
});
const deny = (direction: string) => ({
  kind: 'NetpolNamespace',
  namespace: 'shop',
  direction,
  rule: { type: 'defaultDeny' },
});

test('the ACLs of a rule are one rule, the rules of a policy one policy', () => {
  const all = policies([
    rule(web(0), { connections: 2, packets: 5, last: '2026-11-23T10:00:00Z' }),
    rule(web(0, 'udp'), { connections: 1, packets: 1, last: '2026-11-23T09:00:00Z', sampled: false }),
    rule(web(1)),
    rule(deny('Ingress'), { action: 'drop', dropped_packets: 4, connections: 4 }),
  ]);
  expect(all.map(({ ref }) => ref)).toEqual(['NetworkPolicy/shop/web', 'NetpolNamespace/shop/']);
  const [policy] = all;
  expect(policy).toMatchObject({ connections: 3, packets: 6, last: '2026-11-23T10:00:00Z', sampled: false });
  expect(policy?.rules.map(({ key, connections }) => [key, connections])).toEqual([
    ['Ingress:0', 3],
    ['Ingress:1', 0],
  ]);
  expect(defaultDeny(all, 'shop', ['Ingress'])).toMatchObject([{ key: 'Ingress:defaultDeny', dropped: 4 }]);
  expect(defaultDeny(all, 'shop', ['Egress'])).toEqual([]);
});

test('rules without a number are told apart', () => {
  expect(ruleKey(deny('Egress') as never)).toBe('Egress:defaultDeny');
  expect(ruleKey({ kind: 'NetpolNode', direction: 'Ingress' } as never)).toBe('Ingress');
});

test('policies are found by words, by unused rules, and put in order', () => {
  const all = policies([
    rule(web(0), { connections: 2 }),
    rule({ kind: 'EgressFirewall', namespace: 'data', direction: 'Egress', rule: { index: 0 } }),
  ]);
  const refs = (find: string, unused: boolean, order: 'name' | 'connections') =>
    listed(all, find, unused, order).map(({ ref }) => ref);
  expect(refs('', false, 'name')).toEqual(['EgressFirewall/data/', 'NetworkPolicy/shop/web']);
  expect(refs('', false, 'connections')).toEqual(['NetworkPolicy/shop/web', 'EgressFirewall/data/']);
  expect(refs('SHOP net', false, 'name')).toEqual(['NetworkPolicy/shop/web']);
  expect(refs('', true, 'name')).toEqual(['EgressFirewall/data/']);
});

test('rules that are gone, or of ARP, are not called unused', () => {
  const [policy] = policies([rule(web(0), { zones: [] })]);
  expect(isUnused(policy!.rules[0]!)).toBe(false);
  const [arp] = policies([rule({ ...deny('Ingress'), rule: { type: 'arpAllow' } })]);
  expect(isUnused(arp!.rules[0]!)).toBe(false);
});

test('silence says as much as was sampled', () => {
  expect(silence(true, 1)).toBe('sure');
  expect(silence(true, undefined)).toBe('sure');
  expect(silence(true, 0.01)).toBe('some');
  expect(silence(false, 1)).toBe('nothing');
});
