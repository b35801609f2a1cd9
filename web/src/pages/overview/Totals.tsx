import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { data, useApi, type Schemas, type Verdict } from '../../api/client';
import { moved, none, total, type Counts } from '../../parts/buckets';
import { Asked } from '../../parts/states';
import { Time } from '../../parts/Time';
import { useRange, useRefresh, type Range } from '../../state/range';
import { useTo } from '../../state/url';
import { change } from './change';
import { Panel } from './Panel';

const DENIED = 'verdict in (dropped, rejected)';

/** How many connections, and how many there were in the time before. */
export function Totals() {
  const { t } = useTranslation('overview');
  const query = useTotals();
  return (
    <Panel title={t('totals.title')}>
      <Asked query={query}>
        {({ now, before, compared }) => (
          <>
            <div className="nv-totals">
              <Total name="all" q="" now={total(now)} before={before && total(before)} />
              <Total name="denied" q={DENIED} now={denied(now)} before={before && denied(before)} />
              <Total
                name="allowed"
                q="verdict in (allowed, delegated)"
                now={now.allowed + now.delegated}
                before={before && before.allowed + before.delegated}
              />
              {(now.unknown > 0 || (before?.unknown ?? 0) > 0) && (
                <Total name="unknown" q="verdict=unknown" now={now.unknown} before={before?.unknown} />
              )}
            </div>
            <p className="nv-subtle">{before ? <Before {...compared} /> : t('totals.unrecorded')}</p>
          </>
        )}
      </Asked>
    </Panel>
  );
}

function Before({ since, until }: Range) {
  const { t } = useTranslation('overview');
  const [start, middle, end] = t('totals.before', { since: '|', until: '|' }).split('|');
  return (
    <>
      {start}
      <Time at={since} />
      {middle}
      <Time at={until} />
      {end}
    </>
  );
}

interface TotalProps {
  name: 'all' | 'denied' | 'allowed' | 'unknown';
  q: string;
  now: number;
  before: number | undefined;
}

function Total({ name, q, now, before }: TotalProps) {
  const { t } = useTranslation('overview');
  const link = useTo();
  const changed = before === undefined ? undefined : change(now, before);
  const by = changed?.by.toLocaleString(undefined, { style: 'percent', maximumSignificantDigits: 2 });
  return (
    <div className="nv-total">
      <Link to={link('/traffic', q ? { q } : {})}>
        <strong>{now.toLocaleString()}</strong> {t(`totals.${name}`)}
      </Link>
      {changed && <span className="nv-subtle">{t(`totals.${changed.way}`, { by })}</span>}
    </div>
  );
}

function denied(counts: Counts): number {
  return counts.dropped + counts.rejected;
}

/** The counts of the page's time, and of the time before if all of that is recorded. */
function useTotals() {
  const { client } = useApi();
  const [range] = useRange();
  const [refresh] = useRefresh();
  return useQuery({
    queryKey: ['totals', range],
    queryFn: async ({ signal }) => {
      const compared = moved(range, -1, Date.now());
      const ask = (range: Range) => {
        const query = { q: '| count by verdict top 10', ...range };
        return data(client.GET('/api/v1/aggregates', { params: { query }, signal }));
      };
      const [now, before, { store }] = await Promise.all([
        ask(range),
        ask(compared),
        data(client.GET('/api/v1/sources', { signal })),
      ]);
      const isRecorded = store.since ? Date.parse(store.since) <= Date.parse(compared.since) : true;
      return { now: counted(now), before: isRecorded ? counted(before) : undefined, compared };
    },
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
}

function counted({ lines }: Schemas['Aggregates']): Counts {
  const counts = none();
  for (const [verdict, count] of lines as unknown as [Verdict, number][]) {
    if (verdict in counts) counts[verdict] += count;
  }
  return counts;
}
