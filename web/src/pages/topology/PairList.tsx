import { useTranslation } from 'react-i18next';
import { Verdict } from '../../parts/Verdict';
import type { Edge, Graph, Place } from './graph';
import { More, useMore } from './More';
import { usePlaceName, useRate } from './words';

interface Props {
  graph: Graph;
  edges: Edge[];
  seconds: number;
  chosen: string;
  onChoose: (id: string) => void;
}

/** Who talked to whom, denied ones first. */
export function PairList({ graph, edges, seconds, chosen, onChoose }: Props) {
  const { t } = useTranslation('topology');
  const nameOf = usePlaceName();
  const rate = useRate();
  const { shown, more } = useMore(edges);
  return (
    <>
      <ul className="nv-rows" aria-label={t('tabs.pairs')}>
        {shown.map((edge) => {
          const [from, to] = [edge.from, edge.to].map((id) => nameOf(graph.places.get(id) as Place));
          const pair = `${edge.from}>${edge.to}`;
          return (
            <li key={edge.id}>
              <button
                type="button"
                className="nv-row"
                data-row
                data-open={pair}
                aria-current={pair === chosen || undefined}
                aria-label={t('pair', {
                  from,
                  to,
                  verdict: t(`common:verdict.${edge.verdict}`),
                  count: edge.connections,
                })}
                onClick={() => onChoose(pair)}
              >
                <span className="nv-row-name">
                  {from} <span aria-hidden>→</span> {to}
                </span>
                <span className="nv-row-facts">
                  <Verdict verdict={edge.verdict} />
                  <span>
                    {edge.connections.toLocaleString()} · {rate(edge.connections, seconds)}
                  </span>
                </span>
              </button>
            </li>
          );
        })}
      </ul>
      <More {...more} />
    </>
  );
}
