import { useQuery } from '@tanstack/react-query';
import { data, useApi, type Schemas } from '../../api/client';
import { useRange } from '../../state/range';

type Workload = Pick<Schemas['Workload'], 'kind' | 'namespace' | 'name'>;

/** How questions name somebody; nothing for those that cannot be asked about. */
export function refOfWorkload({ kind, namespace, name }: Workload): string | undefined {
  if (!name) return undefined;
  if (kind === 'node') return `node/${name}`;
  if (!namespace) return undefined;
  return kind === 'service' ? `svc/${namespace}/${name}` : `${namespace}/${name}`;
}

/** All who can be asked about. */
export function useRefs(): string[] {
  const { client } = useApi();
  const [{ since, until }] = useRange();
  const asked = useQuery({
    queryKey: ['refs', since, until],
    queryFn: ({ signal }) => data(client.GET('/api/v1/workloads', { signal, params: { query: { since, until } } })),
    staleTime: 60_000,
  });
  const refs = (asked.data?.items ?? []).map(refOfWorkload).filter((ref) => ref !== undefined);
  return [...new Set(refs)].sort();
}
