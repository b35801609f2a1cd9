import { expect, test } from 'vitest';
import { chosenMarks } from '../../parts/yaml/chosen';
import { ruleNotes } from './lines';
import { deniedOf, trafficOf } from './queries';
import type { Policy } from './used';

const written = {
  object: 'NetworkPolicy shop/web',
  file: 'a.yaml',
  first_line: 10,
  text: '',
  rules: [
    { direction: 'Ingress', index: 0, line: 17, end_line: 20 },
    { direction: 'Egress', index: 0, line: 22, end_line: 22 },
  ],
};

test('each rule says behind its line what it did', () => {
  const rule = { key: 'Ingress:0', direction: 'Ingress', index: 0, action: 'allow', inForce: true, sampled: true };
  const used = { rules: [{ ...rule, connections: 3, packets: 9, dropped: 0 }] } as Policy;
  const say = ruleNotes(written, used, (rules) => ({
    text: String(rules.reduce((sum, it) => sum + it.connections, 0)),
  }));
  expect(say).toEqual([
    { line: 17, text: '3' },
    { line: 22, text: '0' },
  ]);
  expect(chosenMarks(written, 'Ingress:0')).toEqual([{ from: 17, to: 20, tone: 'info' }]);
  expect(chosenMarks(written, 'Egress:1')).toEqual([]);
});

test('rules and drops are found in Traffic', () => {
  const owner = { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' } as const;
  expect(trafficOf(owner as never, { key: 'Ingress:0', direction: 'Ingress', index: 0 })).toBe(
    'owner.kind=NetworkPolicy and owner.namespace=shop and owner.name=web and direction=Ingress and rule.index=0',
  );
  expect(
    trafficOf({ kind: 'NetpolNamespace', namespace: 'shop' } as never, {
      key: 'Egress:defaultDeny',
      direction: 'Egress',
    }),
  ).toBe('owner.kind=NetpolNamespace and owner.namespace=shop and direction=Egress and rule.type=defaultDeny');
  expect(deniedOf('data', 'Ingress', ['data/a', 'data/b'])).toContain(
    'dst.namespace=data and (dst.pod=a or dst.pod=b)',
  );
  expect(deniedOf('data', 'Egress', [])).toMatch(/src\.namespace=data$/);
});
