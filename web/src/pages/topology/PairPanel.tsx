import { Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { and } from '../../parts/clauses';
import { Time } from '../../parts/Time';
import { Verdict } from '../../parts/Verdict';
import { useTo } from '../../state/url';
import { clause, isDenied, type Edge, type Place } from './graph';
import { PairEnds } from './PairEnds';
import { PairPolicies } from './PairPolicies';
import { Side } from './Side';
import { usePlaceName, useRate } from './words';

interface Props {
  from: Place;
  to: Place;
  /** One for each verdict. */
  edges: Edge[];
  seconds: number;
  /** What the page asks about. */
  filter: string;
  onClose: () => void;
}

/** One pair of places: what was seen, who decided it, and the ways to more. */
export function PairPanel({ from, to, edges, seconds, filter, onClose }: Props) {
  const { t } = useTranslation('topology');
  const nameOf = usePlaceName();
  const rate = useRate();
  const link = useTo();
  const q = and(filter, clause('src', from), clause('dst', to));
  const hasDenied = edges.some(({ verdict }) => isDenied(verdict));
  return (
    <Side
      onClose={onClose}
      title={
        <>
          {nameOf(from)} <span aria-label={t('arrow')}>→</span> {nameOf(to)}
        </>
      }
    >
      <p className="nv-side-links">
        <Link to={link('/traffic', { q })}>{t('traffic')}</Link>
        {hasDenied && (
          <Link to={link('/traffic', { q: and(q, 'verdict in (dropped, rejected)') })}>{t('trafficDenied')}</Link>
        )}
      </p>
      <Title headingLevel="h3" size="md">
        {t('counts')}
      </Title>
      <ul className="nv-facts">
        {edges.map((edge) => (
          <li key={edge.verdict}>
            <Verdict verdict={edge.verdict} /> {t('connections', { count: edge.connections })} ·{' '}
            {rate(edge.connections, seconds)} · {t('packets', { count: edge.packets })} ·{' '}
            {rate(edge.bytes, seconds, true)}
            {edge.last && (
              <>
                {' · '}
                <Time at={edge.last} />
              </>
            )}
          </li>
        ))}
      </ul>
      <Title headingLevel="h3" size="md">
        {t('who')}
      </Title>
      <PairEnds q={q} />
      <Title headingLevel="h3" size="md">
        {t('policies')}
      </Title>
      <PairPolicies q={q} />
    </Side>
  );
}
