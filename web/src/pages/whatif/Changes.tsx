import { Table, Tbody, Td, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { Columns } from '../../parts/Columns';
import { formatCount } from '../../parts/counts';
import { Time } from '../../parts/Time';
import { Place } from '../../parts/trace/Place';
import { Verdict } from '../../parts/Verdict';
import { useTo } from '../../state/url';
import { endOf, portOf, queryOf, type Change } from './answer';

/** Connections that would fare otherwise. */
export function Changes({ changes, label }: { changes: Change[]; label: string }) {
  const { t } = useTranslation('whatif');
  const to = useTo();
  return (
    <Table variant="compact" gridBreakPoint="grid-lg" aria-label={label}>
      <Columns titles={[t('column.pair'), t('column.seen'), t('column.last'), t('column.before'), t('column.after')]} />
      <Tbody>
        {changes.map((change) => {
          const { pair, before, after } = change;
          const ends = `${endOf(pair.from)} → ${endOf(pair.to)}`;
          return (
            <Tr key={`${ends} ${portOf(pair)} ${pair.service}`}>
              <Td dataLabel={t('column.pair')}>
                <div>
                  {ends} <strong>{portOf(pair)}</strong>
                </div>
                {pair.service && <div className="nv-subtle-text">{t('by_service', { service: pair.service })}</div>}
                <Link to={to('/traffic', { q: queryOf(pair) })}>{t('show')}</Link>
              </Td>
              <Td dataLabel={t('column.seen')}>
                {t('times', { count: pair.connections, n: formatCount(pair.connections) })}
              </Td>
              <Td dataLabel={t('column.last')}>
                <Time at={pair.last} />
              </Td>
              <Td dataLabel={t('column.before')}>
                <Fares side={before} />
              </Td>
              <Td dataLabel={t('column.after')}>
                <Fares side={after} />
              </Td>
            </Tr>
          );
        })}
      </Tbody>
    </Table>
  );
}

function Fares({ side }: { side: Change['before'] }) {
  const { t } = useTranslation('whatif');
  return (
    <>
      <Verdict verdict={side.verdict} />
      {side.by.length === 0 && <div>{t('by_nobody')}</div>}
      {side.by.map((by) => (
        <div key={`${by.side} ${by.sentence}`}>
          {by.sentence}
          <ul className="nv-places">
            {by.origins.map((origin) => (
              <li key={`${origin.object} ${origin.rule} ${origin.line}`}>
                <Place source={origin} />
              </li>
            ))}
          </ul>
        </div>
      ))}
    </>
  );
}
