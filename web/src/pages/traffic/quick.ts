import { add, has, parse, remove, type Query } from './query';

/** Queries that many ask, by name. */
export const QUICK = {
  denied: 'verdict in (dropped, rejected)',
  applications: 'not (namespace~kube-* or namespace~openshift*)',
  infrastructure: '(namespace~kube-* or namespace~openshift*)',
  pods: 'src.kind=pod and dst.kind=pod',
  services: 'service~*',
  dns: 'dst.port=53',
  externalIngress: 'src.kind=external',
  externalEgress: 'dst.kind=external',
  unexplained: 'verdict=unknown',
} as const;
export type Quick = keyof typeof QUICK;

/** Which connections by the drops that they have. */
export const DROPS = {
  all: '',
  containing: 'dropped.packets>0',
  fully: 'dropped.packets>0 and reply.packets=0',
  without: 'dropped.packets=0',
} as const;
export type Drops = keyof typeof DROPS;

const termsOf = (text: string) => parse(text).terms;

export const isOn = (query: Query, text: string) => termsOf(text).every((term) => has(query, term));

/** Switches a filter on or off. */
export function toggle(query: Query, text: string): Query {
  return isOn(query, text) ? termsOf(text).reduce(remove, query) : termsOf(text).reduce(add, query);
}

/** Which of the choices a query has. */
export function drops(query: Query): Drops {
  const order: Drops[] = ['fully', 'containing', 'without'];
  return order.find((name) => isOn(query, DROPS[name])) ?? 'all';
}

/** The query with another choice. */
export function chooseDrops(query: Query, choice: Drops): Query {
  const without = Object.values(DROPS).flatMap(termsOf).reduce(remove, query);
  return termsOf(DROPS[choice]).reduce(add, without);
}
