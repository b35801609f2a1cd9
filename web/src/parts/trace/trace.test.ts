import { expect, test } from 'vitest';
import { diffLines, fixText, kubectl } from './fixes';
import { isTelling, legs } from './steps';
import type { Step } from './types';
import { policyRef } from '../ends';
import { placeOf, policyOf, refOf } from './words';

const part = (object: string, text: string, patch: unknown = []) => ({ object, text, patch, diff: '', message: '' });

test('ends are named as questions name them', () => {
  const party = { addresses: ['10.0.0.1'], network: 'default' };
  expect(refOf({ ...party, kind: 'pod', namespace: 'shop', name: 'web-0' })).toBe('shop/web-0');
  expect(refOf({ ...party, kind: 'service', namespace: 'data', name: 'search' })).toBe('svc/data/search');
  expect(refOf({ ...party, kind: 'node', name: 'n1' })).toBe('node/n1');
  expect(refOf({ ...party, kind: 'external' })).toBe('10.0.0.1');
});

test('places are short', () => {
  expect(placeOf({ file: '/a/b/c.yaml', line: 3, column: 7 })).toBe('c.yaml:3:7');
  expect(placeOf({ file: 'c.yaml' })).toBe('c.yaml');
  expect(placeOf({ line: 3 })).toBe('');
});

test('sources and owners lead to the same page', () => {
  const source = { object: 'NetworkPolicy shop/web', rule: 'egress[2]' };
  expect(policyOf(source)).toEqual({ policy: 'NetworkPolicy/shop/web', rule: 'Egress:2' });
  expect(policyOf({ object: 'AdminNetworkPolicy platform' })).toEqual({ policy: 'AdminNetworkPolicy//platform' });
  expect(policyOf({ object: 'EgressFirewall shop/default' }).policy).toBe(
    policyRef({ kind: 'EgressFirewall', namespace: 'shop' }),
  );
});

test('a fix of several objects is one text, with the last of each', () => {
  const parts = [
    part('NetworkPolicy a/x', '---\na: 1\n'),
    part('NetworkPolicy a/y', 'b: 1'),
    part('NetworkPolicy a/x', 'a: 2\n\n'),
  ];
  expect(fixText({ parts, opens: [], closes: [], complete: true })).toBe('b: 1\n---\na: 2\n');
});

test('a change is a command, whatever is in its names', () => {
  const patch = [{ op: 'add', path: '/x', value: "it's" }];
  expect(kubectl(part('NetworkPolicy a/x', '', patch))).toBe(
    `kubectl patch networkpolicy x --namespace a --type=json -p '[{"op":"add","path":"/x","value":"it'\\''s"}]'`,
  );
  expect(kubectl(part('AdminNetworkPolicy x', '', patch))).toContain('patch adminnetworkpolicy x --type=json');
  expect(kubectl(part('NetworkPolicy a/x', 'kind: NetworkPolicy\n', {}))).toBe(
    "kubectl apply -f - <<'EOF'\nkind: NetworkPolicy\nEOF",
  );
});

test('a diff is its lines', () => {
  const diff = '--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-- b\n+- c\n';
  expect(diffLines(diff)).toEqual([
    { kind: 'place', text: '@@ -1,2 +1,2 @@' },
    { kind: 'same', text: 'a' },
    { kind: 'old', text: '- b' },
    { kind: 'new', text: '- c' },
  ]);
  expect(diffLines('kind: X\n')).toEqual([{ kind: 'new', text: 'kind: X' }]);
});

test('a walk is parted by switches, and quiet tables are known', () => {
  const steps: Step[] = [
    { step: 'enter', switch: 'a', zone: 'z' },
    { step: 'table', table: 't', changes: [] },
    { step: 'route', router: 'r' },
    { step: 'enter', switch: 'b', zone: 'z' },
  ];
  expect(legs(steps).map((leg) => leg.steps.length)).toEqual([2, 1, 1]);
  expect(steps.map(isTelling)).toEqual([true, false, true, true]);
  const change = { field: 'reg', before: '0', after: '1' };
  expect(isTelling({ step: 'table', changes: [{ ...change, meaning: 'tier' }] })).toBe(false);
  expect(isTelling({ step: 'table', changes: [change] })).toBe(true);
});
