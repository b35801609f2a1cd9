import { Alert } from '@patternfly/react-core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { data, useApi } from '../../api/client';
import { useLines } from '../../parts/lines';
import { Asked } from '../../parts/states';
import { useRefresh } from '../../state/range';
import { useTo } from '../../state/url';
import { losses, wordOf, type Loss } from '../health/lost';
import { Panel } from './Panel';

/** What share of the packets is seen, and what got lost on the way. */
export function Sampling() {
  const { t } = useTranslation('overview');
  const link = useTo();
  const { client } = useApi();
  const [refresh] = useRefresh();
  const shares = useLines('| count, min(probability), max(probability)');
  const sources = useQuery({
    queryKey: ['sources'],
    queryFn: ({ signal }) => data(client.GET('/api/v1/sources', { signal })),
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
  return (
    <Panel title={t('health.title')} more={{ to: link('/health'), text: t('health.more') }}>
      <Asked query={shares}>
        {({ lines: [line] }) => <Shares least={line?.['min(probability)']} most={line?.['max(probability)']} />}
      </Asked>
      <Asked query={sources}>
        {(sources) => {
          const lost = summed(losses(sources));
          return (
            <>
              {sources.store.blocked && (
                <Alert
                  component="p"
                  isInline
                  variant="danger"
                  title={t('health.blocked', { why: sources.store.blocked })}
                />
              )}
              {lost.length === 0 ? (
                <p>{t('health.none')}</p>
              ) : (
                <>
                  <p>{t('health.lost')}</p>
                  <ul className="nv-lost">
                    {lost.map(({ name, value }) => (
                      <li key={name}>
                        {value.toLocaleString()} {t(`health:counter.${wordOf(name)}`, { defaultValue: name })}
                      </li>
                    ))}
                  </ul>
                </>
              )}
            </>
          );
        }}
      </Asked>
    </Panel>
  );
}

/** Of all places together, the most first. */
function summed(lost: Loss[]): { name: string; value: number }[] {
  const sums = new Map<string, number>();
  for (const { name, value } of lost) sums.set(name, (sums.get(name) ?? 0) + value);
  return [...sums].map(([name, value]) => ({ name, value })).sort((one, other) => other.value - one.value);
}

type Share = string | number | null | undefined;

function Shares({ least, most }: { least: Share; most: Share }) {
  const { t } = useTranslation('overview');
  if (typeof least !== 'number' || typeof most !== 'number' || least <= 0) return <p>{t('health.nothing')}</p>;
  if (least >= 1) return <p>{t('health.all')}</p>;
  const [rare, often] = [Math.round(1 / least), Math.round(1 / most)];
  return <p>{t(rare === often ? 'health.rate' : 'health.some', { least: often, most: rare })}</p>;
}
