import { Button, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { and } from '../../parts/clauses';
import { useTo } from '../../state/url';
import { clause, step, type Edge, type Graph, type Place } from './graph';
import { PairList } from './PairList';
import { PlaceBadge } from './PlaceBadge';
import { Side } from './Side';
import { usePlaceName } from './words';

interface Props {
  place: Place;
  graph: Graph;
  seconds: number;
  filter: string;
  onChoose: (id: string) => void;
  onStep: (place: Place) => void;
  onClose: () => void;
}

/** One place: who it talks to, who talks to it. */
export function PlacePanel({ place, graph, seconds, filter, onChoose, onStep, onClose }: Props) {
  const { t } = useTranslation('topology');
  const nameOf = usePlaceName();
  const link = useTo();
  const name = nameOf(place);
  const sides: ['outgoing' | 'incoming', 'src' | 'dst', Edge[]][] = [
    ['outgoing', 'src', graph.edges.filter(({ from }) => from === place.id)],
    ['incoming', 'dst', graph.edges.filter(({ to }) => to === place.id)],
  ];
  return (
    <Side
      onClose={onClose}
      title={
        <>
          <PlaceBadge place={place} /> {name}
        </>
      }
    >
      {step(place) && (
        <Button variant="secondary" size="sm" onClick={() => onStep(place)}>
          {t('step', { name })}
        </Button>
      )}
      {sides.map(([title, side, edges]) => (
        <div key={title}>
          <Title headingLevel="h3" size="md">
            {t(title)}
          </Title>
          {edges.length === 0 ? (
            <p>{t('none')}</p>
          ) : (
            <>
              <Link to={link('/traffic', { q: and(filter, clause(side, place)) })}>{t('traffic')}</Link>
              <PairList graph={graph} edges={edges} seconds={seconds} chosen="" onChoose={onChoose} />
            </>
          )}
        </div>
      ))}
    </Side>
  );
}
