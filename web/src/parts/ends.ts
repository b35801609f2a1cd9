import type { Connection, End, Owner } from '../api/client';

export type Service = NonNullable<Connection['service']>;

/** What people call an end: `namespace/pod`, another name, else its address. */
export function endName({ namespace, pod, name, ip }: End): string {
  const own = pod ?? name;
  if (!own) return ip;
  return namespace ? `${namespace}/${own}` : own;
}

/** How an end is named in questions: a REF of `explain`. */
export function endRef(end: End, network?: string): string {
  if (end.kind === 'pod' && end.namespace && end.pod) return `${end.namespace}/${end.pod}`;
  if (end.kind === 'node' && end.name) return `node/${end.name}`;
  return network && network !== 'default' ? `${end.ip}@${network}` : end.ip;
}

/** Whom the client spoke to, as a REF: the service, where there was one. */
export function targetRef({ dst, service, network }: Connection): string {
  return service?.namespace ? `svc/${service.namespace}/${service.name}` : endRef(dst, network);
}

/** On what, as `explain` takes it: `9200/tcp`. */
export function portRef({ protocol, dst, service }: Connection): string {
  const port = service?.port ?? dst.port;
  if (typeof protocol === 'number') return '';
  if (protocol === 'icmp' || protocol === 'icmp6') return 'icmp';
  return port === undefined ? '' : `${port}/${protocol}`;
}

/** A policy in addresses: `KIND/NAMESPACE/NAME`. */
export const policyRef = ({ kind, namespace = '', name = '' }: Owner) => `${kind}/${namespace}/${name}`;

const CLUSTER_WIDE = ['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy'];

/** The object that ACLs are of, as What if removes it; nothing where no object is, as for isolation. */
export function objectOf({ kind, namespace, name }: Owner): string | undefined {
  if (CLUSTER_WIDE.includes(String(kind))) return name && `${kind}/${name}`;
  // ACLs of an egress firewall do not tell its name, of which there is one only.
  if (kind === 'EgressFirewall') return namespace && `${kind}/${namespace}/${name ?? 'default'}`;
  return kind === 'NetworkPolicy' && namespace && name ? `${kind}/${namespace}/${name}` : undefined;
}

/** A rule of a policy in addresses, `Ingress:0`; empty where it is not known. */
export function ruleRef({ direction, rule }: Owner): string {
  return direction && rule?.index !== undefined ? `${direction}:${rule.index}` : '';
}
