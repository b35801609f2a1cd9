import type { Owner, Schemas } from '../../api/client';

type Namespace = Schemas['Namespace'];

/** Kinds of owners that isolate pods of their namespace. */
const ISOLATING = ['NetworkPolicy', 'NetpolNamespace'];

/** Namespaces with workloads in which no NetworkPolicy is in force, those with most traffic first. */
export function unisolated(namespaces: Namespace[], policies: { owner: unknown; rules: number }[]): Namespace[] {
  const isolated = new Set(
    policies.flatMap(({ owner, rules }) => {
      const { kind, namespace } = owner as Owner;
      return kind && namespace && rules > 0 && ISOLATING.includes(kind) ? [namespace] : [];
    }),
  );
  return namespaces
    .filter(({ name, workloads }) => workloads > 0 && !isolated.has(name))
    .sort((one, other) => traffic(other) - traffic(one) || (one.name < other.name ? -1 : 1));
}

/** Connections that begin or end there. */
export function traffic(namespace: Namespace): number {
  return namespace.out.connections + namespace.in.connections;
}
