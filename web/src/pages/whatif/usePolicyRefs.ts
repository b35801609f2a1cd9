import { useQuery } from '@tanstack/react-query';
import { data, useApi, type Owner } from '../../api/client';
import { objectOf } from '../../parts/ends';

/** The policies that rules are known of, as objects that can go; others can be named all the same. */
export function usePolicyRefs(): string[] {
  const { client } = useApi();
  const { data: found } = useQuery({
    queryKey: ['policy-refs'],
    queryFn: ({ signal }) => data(client.GET('/api/v1/policies', { signal, params: { query: {} } })),
    staleTime: 60_000,
  });
  const refs = (found?.items ?? []).flatMap(({ owner }) => objectOf(owner as unknown as Owner) ?? []);
  return [...new Set(refs)].sort();
}
