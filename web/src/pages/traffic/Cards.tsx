import type { KeyboardEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { End } from '../../parts/End';
import { Time } from '../../parts/Time';
import { Verdict } from '../../parts/Verdict';
import { halves } from './columns';
import { Counted } from './Counted';
import type { GridProps } from './Grid';
import { Lost } from './Lost';
import { CARD } from './sizes';
import { useVisible } from './useVisible';

/** Connections where there is no room for a table. */
export function Cards(props: GridProps) {
  const { rows, active, onActive, chosen, onOpen, grab } = props;
  const { t } = useTranslation('traffic');
  const { scroll, items, before, behind, pointer } = useVisible(props, CARD);
  const first = rows.indexOf(active) < 0 ? items[0]?.key : active;
  return (
    <div className="nv-grid" ref={scroll} data-testid="grid" {...pointer}>
      <ul aria-label={t('table')} className="nv-cards" style={{ paddingBlock: `${before}px ${behind}px` }}>
        {items.map(({ index, item, key, slot, height }) => (
          <li key={slot} style={{ height }} aria-setsize={props.more ? -1 : rows.length} aria-posinset={index + 1}>
            {item.kind === 'lost' ? (
              <Lost updates={item.updates} />
            ) : (
              <div
                role="button"
                data-testid="row"
                className="nv-card"
                aria-pressed={key === chosen}
                tabIndex={key === first ? 0 : -1}
                ref={(card) => {
                  if (!card || key !== active || !grab.current) return;
                  grab.current = false;
                  card.focus({ preventScroll: true });
                }}
                onFocus={() => onActive(key)}
                onClick={() => onOpen(item.connection)}
                onKeyDown={(event: KeyboardEvent) => {
                  if (event.target !== event.currentTarget || !['Enter', ' '].includes(event.key)) return;
                  event.preventDefault();
                  onOpen(item.connection);
                }}
              >
                <div className="nv-card-line">
                  <Verdict verdict={item.connection.verdict} />
                  <span>{item.connection.protocol}</span>
                  <Counted c={item.connection} what="all" bytes />
                  <span className="nv-card-time">
                    <Time at={item.connection.end} />
                  </span>
                </div>
                <End end={item.connection.src} port />
                <End end={item.connection.dst} port />
                {halves(item.connection)
                  .slice(0, 2)
                  .map((half, index) => (
                    <span key={index} className="nv-cut nv-card-sentence">
                      {half.message}
                    </span>
                  ))}
              </div>
            )}
          </li>
        ))}
      </ul>
    </div>
  );
}
