import type { Party, Source, Station } from './types';

/** Who it is, as questions name it: `shop/web-0`, `svc/data/search`, `node/n1`, or an address. */
export function refOf(party: Party): string {
  const { kind, namespace, name, addresses } = party;
  if (kind === 'service' && name) return `svc/${namespace}/${name}`;
  if (namespace && name) return `${namespace}/${name}`;
  if ((kind === 'node' || kind === 'management') && name) return `node/${name}`;
  return addresses[0] ?? name ?? '?';
}

/** Where something is written, in short: the last part of the path, the line and column. */
export function placeOf({ file, line, column }: { file?: string; line?: number; column?: number }): string {
  if (!file) return '';
  return [file.split('/').pop(), line, column].filter((part) => part !== undefined).join(':');
}

/** The station whose ACLs ended the way, if one did. */
export function decider(stations: Station[], verdict: string): Station | undefined {
  return verdict === 'allowed' ? undefined : stations.at(-1);
}

/** The object and rule of a source as the page of policies has them in its address. */
export function policyOf({ object, rule }: Pick<Source, 'object' | 'rule'>): { policy: string; rule?: string } {
  const [kind = '', place = ''] = object.split(' ');
  const [namespace, name] = place.includes('/') ? place.split('/') : ['', place];
  const policy = policyKey({ kind, namespace, name });
  const match = rule?.match(/^(ingress|egress)\[(\d+)\]$/);
  return match ? { policy, rule: `${match[1] === 'ingress' ? 'Ingress' : 'Egress'}:${match[2]}` } : { policy };
}

/** What ACLs say of whose they are. */
export interface Owner {
  kind?: string;
  namespace?: string;
  name?: string;
  network?: string;
  direction?: string;
  rule?: { index?: number; protocol?: string; ip_block?: number; type?: string };
}

/** KIND/NAMESPACE/NAME; an egress firewall is its namespace's only one, and ACLs do not tell its name. */
export function policyKey({ kind = '', namespace = '', name = '' }: Owner): string {
  return `${kind}/${namespace}/${kind === 'EgressFirewall' ? '' : name}`;
}

/** The rule of an owner, as `Ingress:0`, or `Ingress:defaultDeny` where it has no number. */
export function ruleKey({ direction, rule }: Owner): string {
  const which = rule?.index ?? rule?.type;
  return which === undefined ? (direction ?? '') : `${direction}:${which}`;
}

/** The address of a policy's page. */
export function policyHref(policy: string, rule?: string): string {
  const params = new URLSearchParams({ policy, ...(rule && { rule }) });
  return `/policies?${params}`;
}
