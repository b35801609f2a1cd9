import { useQueries } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { data, useApi, type Schemas } from '../../api/client';
import { formatCount } from '../../parts/counts';
import { Time } from '../../parts/Time';
import { useRange } from '../../state/range';
import { useTo } from '../../state/url';
import { deniedOf } from './queries';
import { defaultDeny, type Policy } from './used';

/** Pods whose names fit into one query. */
const MOST = 100;

interface Props {
  policy: string;
  known: Schemas['KnownPolicy'];
  all: Policy[];
}

/** What is dropped because a policy isolates its pods and no policy allows it. */
export function DefaultDeny({ policy, known, all }: Props) {
  const { t } = useTranslation('policies');
  const { client } = useApi();
  const to = useTo();
  const [{ since, until }] = useRange();
  const [, namespace = ''] = policy.split('/');
  const { isolates, pods } = known;
  const few = pods.length > 0 && pods.length <= MOST;
  const counts = useQueries({
    queries: isolates.map((direction) => {
      const q = deniedOf(namespace, direction, few ? pods : []);
      return {
        queryKey: ['denied', q, since, until],
        enabled: pods.length > 0,
        queryFn: async ({ signal }: { signal: AbortSignal }) => {
          const query = { since, until, q: `${q} | count, sum(dropped.packets), max(end)` };
          const { lines } = await data(client.GET('/api/v1/aggregates', { signal, params: { query } }));
          const [line] = lines as unknown as [number, number, string | null][];
          return { connections: line?.[0] ?? 0, dropped: line?.[1] ?? 0, last: line?.[2] ?? undefined };
        },
      };
    }),
  });
  if (isolates.length === 0) return null;
  const whole = defaultDeny(all, namespace, isolates);
  return (
    <section>
      <h3>{t('deny.title')}</h3>
      <p>{t('deny.why', { count: pods.length })}</p>
      {pods.length > 0 && (
        <p className="nv-subtle-text">
          {pods.slice(0, 20).join(', ')}
          {pods.length > 20 && ' …'}
        </p>
      )}
      <ul className="nv-places">
        {isolates.map((direction, place) => {
          const count = counts[place]?.data;
          const all = whole.find((rule) => rule.direction === direction);
          return (
            <li key={direction}>
              {t(`isolation.${direction === 'Ingress' ? 'ingress' : 'egress'}`)}:{' '}
              {count ? (
                <Link to={to('/traffic', { q: deniedOf(namespace, direction, few ? pods : []) })}>
                  {t('deny.count', {
                    count: count.connections,
                    n: formatCount(count.connections),
                    packets: formatCount(count.dropped),
                  })}
                </Link>
              ) : (
                t(pods.length === 0 ? 'deny.nobody' : 'deny.asking')
              )}
              {count?.last && (
                <>
                  , {t('deny.last')} <Time at={count.last} />
                </>
              )}
              {!few && pods.length > 0 && <> {t('deny.all_pods')}</>}
              {all && !all.sampled && <> {t('silence.nothing')}</>}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
