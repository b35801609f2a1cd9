import { Alert, Tab, Tabs, TabTitleText } from '@patternfly/react-core';
import { lazy, Suspense, useCallback, useMemo, type RefObject } from 'react';
import { useTranslation } from 'react-i18next';
import { Loading } from '../../parts/states';
import { useUrl } from '../../state/url';
import { bounded, groupOf, touched, type Edge, type Graph, type Group, type Measure, type Place } from './graph';
import type { PictureHandle } from './Picture';
import { PairList } from './PairList';
import { PairPanel } from './PairPanel';
import { PlaceList } from './PlaceList';
import { PlacePanel } from './PlacePanel';
import { Side } from './Side';
import type { Show } from './Tools';
import { usePlaceName, useRate } from './words';

const Picture = lazy(async () => ({ default: (await import('./Picture')).Picture }));

/** Edges that are drawn at most, denied ones apart. */
const MOST_EDGES = 2500;
/** Edges up to which each has a text. */
const MOST_TEXTS = 120;

interface Props {
  graph: Graph;
  seconds: number;
  filter: string;
  show: Show;
  group: Group;
  measure: Measure;
  found: Place[];
  open: string;
  onOpen: (id: string) => void;
  onStep: (place: Place) => void;
  picture: RefObject<PictureHandle>;
}

/** The picture, and the list beside it or what was opened. */
export function Shown(props: Props) {
  const { graph, seconds, filter, show, group, measure, found, open, onOpen, onStep, picture } = props;
  const { t } = useTranslation('topology');
  const nameOf = usePlaceName();
  const rate = useRate();
  const { drawn, left } = useMemo(() => bounded(graph.edges, MOST_EDGES), [graph]);
  const places = useMemo(() => touched(graph, drawn), [graph, drawn]);
  const ids = useMemo(() => new Set(found.map(({ id }) => id)), [found]);
  const labelOf = useCallback((place: Place) => nameOf(place, groupOf(place, group) !== ''), [nameOf, group]);
  const hasTexts = drawn.length <= MOST_TEXTS;
  const textOf = useCallback(
    (edge: Edge) => (hasTexts && edge[measure] ? rate(edge[measure], seconds, measure === 'bytes') : ''),
    [hasTexts, measure, rate, seconds],
  );
  const weightOf = useCallback((edge: Edge) => edge[measure], [measure]);
  return (
    <>
      {left > 0 && <Alert component="p" isInline isPlain variant="info" title={t('left', { count: left })} />}
      <div className={`nv-topology nv-topology-${show}`}>
        {show !== 'list' && (
          <Suspense fallback={<Loading />}>
            <Picture
              ref={picture}
              label={t('picture.label', { places: places.length, edges: drawn.length })}
              places={places}
              edges={drawn}
              group={group}
              nameOf={labelOf}
              textOf={textOf}
              weightOf={weightOf}
              chosen={open}
              found={ids}
              onChoose={onOpen}
              onStep={onStep}
            />
          </Suspense>
        )}
        {(show !== 'picture' || open) && (
          <Beside
            graph={graph}
            seconds={seconds}
            filter={filter}
            found={found}
            open={open}
            onOpen={onOpen}
            onStep={onStep}
          />
        )}
      </div>
    </>
  );
}

type BesideProps = Pick<Props, 'graph' | 'seconds' | 'filter' | 'found' | 'open' | 'onOpen' | 'onStep'>;

function Beside({ graph, seconds, filter, found, open, onOpen, onStep }: BesideProps) {
  const { t } = useTranslation('topology');
  const [tab, setTab] = useUrl('list', 'pairs');
  const [from, to] = open.split('>').map((id) => graph.places.get(id));
  const close = () => onOpen('');
  if (open && !from) {
    return (
      <Side title={t('gone')} onClose={close}>
        {null}
      </Side>
    );
  }
  if (from && to) {
    const edges = graph.edges.filter((edge) => edge.from === from.id && edge.to === to.id);
    return <PairPanel key={open} {...{ from, to, edges, seconds, filter }} onClose={close} />;
  }
  if (from) {
    return (
      <PlacePanel key={open} place={from} {...{ graph, seconds, filter, onStep }} onChoose={onOpen} onClose={close} />
    );
  }
  const all = [...graph.places.values()];
  const ids = new Set(found.map(({ id }) => id));
  const edges = ids.size ? graph.edges.filter((edge) => ids.has(edge.from) || ids.has(edge.to)) : graph.edges;
  return (
    <div className="nv-side">
      <Tabs activeKey={tab} onSelect={(_, key) => setTab(String(key))} isFilled aria-label={t('show.list')}>
        <Tab eventKey="pairs" title={<TabTitleText>{t('tabs.pairs')}</TabTitleText>}>
          {tab === 'pairs' && <PairList {...{ graph, edges, seconds }} chosen={open} onChoose={onOpen} />}
        </Tab>
        <Tab eventKey="places" title={<TabTitleText>{t('tabs.places')}</TabTitleText>}>
          {tab === 'places' && (
            <PlaceList places={ids.size ? found : all} chosen={open} onChoose={onOpen} onStep={onStep} />
          )}
        </Tab>
      </Tabs>
    </div>
  );
}
