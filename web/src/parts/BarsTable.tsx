import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import { total, VERDICTS, type Bucket } from './buckets';
import { Time } from './Time';

/** Connections over time by verdict, as numbers; times in which nothing was seen are left out. */
export function BarsTable({ label, buckets }: { label: string; buckets: Bucket[] }) {
  const { t } = useTranslation();
  const verdicts = VERDICTS.filter((verdict) => buckets.some(({ counts }) => counts[verdict] > 0));
  return (
    <div className="nv-bars-table" role="region" aria-label={label} tabIndex={0}>
      <Table aria-label={label} variant="compact" isStickyHeader>
        <Thead>
          <Tr>
            <Th>{t('bars.time')}</Th>
            {verdicts.map((verdict) => (
              <Th key={verdict}>{t(`verdict.${verdict}`)}</Th>
            ))}
          </Tr>
        </Thead>
        <Tbody>
          {buckets
            .filter(({ counts }) => total(counts) > 0)
            .map(({ at, counts }) => (
              <Tr key={at}>
                <Td dataLabel={t('bars.time')}>
                  <Time at={new Date(at).toISOString()} />
                </Td>
                {verdicts.map((verdict) => (
                  <Td key={verdict} dataLabel={t(`verdict.${verdict}`)}>
                    {counts[verdict].toLocaleString()}
                  </Td>
                ))}
              </Tr>
            ))}
        </Tbody>
      </Table>
    </div>
  );
}
