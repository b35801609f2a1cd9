import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import type { Connection } from '../../api/client';
import { count, formatBytes, formatCount, formatShare, type Count, type What } from '../../parts/counts';

const ALL: What[] = ['original', 'reply', 'dropped'];

/** What was counted, how much of it was sampled, and what that says of all there was. */
export function Counters({ counts }: { counts: Connection['counts'] }) {
  const { t } = useTranslation('traffic');
  const lines = counts.map((part) => ({ share: formatShare(part.probability), part: [part] }));
  const all = lines.length > 1 ? [...lines, { share: t('counters.all'), part: counts }] : lines;
  return (
    <Table variant="compact" aria-label={t('counters.title')} gridBreakPoint="">
      <Thead>
        <Tr>
          <Th modifier="fitContent">{t('counters.share')}</Th>
          <Th modifier="fitContent">{t('counters.what')}</Th>
          <Th modifier="wrap" className="nv-number">
            {t('counters.packets')}
          </Th>
          <Th modifier="wrap" className="nv-number">
            {t('counters.bytes')}
          </Th>
          <Th modifier="wrap" className="nv-number">
            {t('counters.estimate')}
          </Th>
        </Tr>
      </Thead>
      <Tbody>
        {all.flatMap(({ share, part }) =>
          ALL.map((what) => {
            const found = count(part, what);
            return (
              <Tr key={`${share} ${what}`}>
                <Td>{share}</Td>
                <Td>{t(`counters.${what}`)}</Td>
                <Td className="nv-number">{formatCount(found.packets)}</Td>
                <Td className="nv-number">{formatBytes(found.bytes)}</Td>
                <Td className="nv-number">
                  <Estimate {...found} />
                </Td>
              </Tr>
            );
          }),
        )}
      </Tbody>
    </Table>
  );
}

function Estimate({ estimate }: Count) {
  const { t } = useTranslation('traffic');
  if (!estimate) return <>{t('counters.exact')}</>;
  const { packets, low, high, bytes } = estimate;
  const numbers = {
    n: formatCount(packets),
    low: formatCount(low),
    high: formatCount(high),
    bytes: formatBytes(bytes),
  };
  return <>{t('counters.interval', numbers)}</>;
}
