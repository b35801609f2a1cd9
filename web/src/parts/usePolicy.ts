import { useQuery } from '@tanstack/react-query';
import { data, useApi } from '../api/client';

/** A policy as it stands now: text, pods, ACLs. */
export function usePolicy(ref: string) {
  const { client } = useApi();
  const [kind = '', namespace = '', name = ''] = ref.split('/');
  return useQuery({
    queryKey: ['policy', ref],
    queryFn: ({ signal }) =>
      data(client.GET('/api/v1/policy', { signal, params: { query: { kind, namespace, name } } })),
    staleTime: 30_000,
  });
}
