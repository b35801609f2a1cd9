import { policyRef } from '../ends';
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

/**
 * The object and rule of a source as the page of policies has them in its address. ACLs do not tell the name of an
 * egress firewall, which is its namespace's only one.
 */
export function policyOf({ object, rule }: Pick<Source, 'object' | 'rule'>): { policy: string; rule?: string } {
  const [kind = '', place = ''] = object.split(' ');
  const [namespace, name] = place.includes('/') ? place.split('/') : ['', place];
  const policy = policyRef({ kind, namespace, name: kind === 'EgressFirewall' ? '' : name });
  const match = rule?.match(/^(ingress|egress)\[(\d+)\]$/);
  return match ? { policy, rule: `${match[1] === 'ingress' ? 'Ingress' : 'Egress'}:${match[2]}` } : { policy };
}
