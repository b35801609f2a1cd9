import type { Owner } from '../../api/client';
import type { Rule } from './used';

/** Connections that a rule decided, as a query. */
export function trafficOf(owner: Owner, rule?: Pick<Rule, 'direction' | 'index' | 'key'>): string {
  const type = rule && rule.index === undefined ? rule.key.split(':')[1] : undefined;
  return [
    `owner.kind=${owner.kind}`,
    owner.namespace && `owner.namespace=${owner.namespace}`,
    owner.name && `owner.name=${owner.name}`,
    rule?.direction && `direction=${rule.direction}`,
    rule?.index !== undefined && `rule.index=${rule.index}`,
    type && `rule.type=${type}`,
  ]
    .filter(Boolean)
    .join(' and ');
}

/** What default deny dropped for some pods of a namespace in one direction. */
export function deniedOf(namespace: string, direction: string, pods: string[]): string {
  const side = direction === 'Ingress' ? 'dst' : 'src';
  const names = pods.map((pod) => `${side}.pod=${pod.split('/')[1]}`);
  return [
    'owner.kind=NetpolNamespace',
    `owner.namespace=${namespace}`,
    `direction=${direction}`,
    'rule.type=defaultDeny',
    `${side}.namespace=${namespace}`,
    names.length > 1 ? `(${names.join(' or ')})` : names[0],
  ]
    .filter(Boolean)
    .join(' and ');
}
