import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { data, useApi } from '../../api/client';
import { quoted } from '../../parts/clauses';
import { Asked } from '../../parts/states';
import { useRange, useRefresh } from '../../state/range';
import { useTo } from '../../state/url';
import { traffic, unisolated } from './isolation';
import { Panel } from './Panel';
import { Ranked } from './Ranked';

const MOST = 8;

/** Namespaces that no NetworkPolicy isolates. */
export function OpenNamespaces() {
  const { t } = useTranslation('overview');
  const link = useTo();
  const query = useNamespaces();
  return (
    <Panel title={t('open.title')}>
      <Asked query={query}>
        {({ namespaces, policies }) => {
          const open = unisolated(namespaces, policies);
          if (open.length === 0) return <p>{t(namespaces.length ? 'open.none' : 'open.unknown')}</p>;
          return (
            <>
              <p className="nv-subtle">{t('open.hint')}</p>
              <Ranked
                rows={open.slice(0, MOST).map((namespace) => {
                  const { name, workloads } = namespace;
                  return {
                    key: name,
                    count: traffic(namespace),
                    name: (
                      <>
                        <Link to={link('/topology', { focus: name })}>{name}</Link>{' '}
                        <span className="nv-subtle">{t('open.workloads', { count: workloads })}</span>
                      </>
                    ),
                    facts: (
                      <Link to={link('/traffic', { q: `namespace=${quoted(name)}` })}>
                        {t('open.in', { count: traffic(namespace) })}
                      </Link>
                    ),
                  };
                })}
              />
              {open.length > MOST && <p>{t('open.more', { count: open.length - MOST })}</p>}
            </>
          );
        }}
      </Asked>
    </Panel>
  );
}

/** All namespaces and policies, page by page. */
function useNamespaces() {
  const { client } = useApi();
  const [range] = useRange();
  const [refresh] = useRefresh();
  return useQuery({
    queryKey: ['unisolated', range],
    queryFn: async ({ signal }) => {
      const [namespaces, policies] = await Promise.all([
        all((after) => data(client.GET('/api/v1/namespaces', { params: { query: { ...range, ...after } }, signal }))),
        all((after) => data(client.GET('/api/v1/policies', { params: { query: { ...range, ...after } }, signal }))),
      ]);
      return { namespaces, policies };
    },
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
}

async function all<T>(
  page: (after: { after?: string }) => Promise<{ items: T[]; next?: string | null }>,
): Promise<T[]> {
  const items: T[] = [];
  for (let next: string | null | undefined = ''; next !== null && next !== undefined;) {
    const told: { items: T[]; next?: string | null } = await page(next ? { after: next } : {});
    items.push(...told.items);
    next = told.next;
  }
  return items;
}
