import { Table, Th, Thead, Tr } from '@patternfly/react-table';
import { memo, type KeyboardEvent, type MutableRefObject } from 'react';
import { useTranslation } from 'react-i18next';
import type { Connection } from '../../api/client';
import { Cards } from './Cards';
import { headings, type Column, type ColumnId } from './columns';
import { Lost } from './Lost';
import { keyOf, type Rows } from './rows';
import { SIZES, type Size } from './sizes';
import { useVisible } from './useVisible';

export interface GridProps {
  rows: Rows;
  columns: (Column & { id: ColumnId })[];
  size: Size;
  /** More than the rows that are here. */
  more: boolean;
  /** Called when the end comes into sight. */
  onMore: () => void;
  /** The row that keys move from; also the one that is in the tab order. */
  active: string;
  onActive: (id: string) => void;
  /** The row that is open. */
  chosen: string;
  onOpen: (connection: Connection) => void;
  /** True while keys move: the active row takes the focus. */
  grab: MutableRefObject<boolean>;
  /** Rows come by themselves, at the top. */
  live: boolean;
  narrow: boolean;
  onAway?: (away: boolean) => void;
}

/** Connections, as cards where there is little room. */
export function Grid(props: GridProps) {
  return props.narrow ? <Cards {...props} /> : <Wide {...props} />;
}

/** A table of which only the lines in sight are there. */
function Wide(props: GridProps) {
  const { rows, columns, size, more, active, onActive, chosen, onOpen, grab } = props;
  const { t } = useTranslation('traffic');
  const { scroll, items, before, behind, pointer } = useVisible(props, SIZES[size]);
  const width = columns.reduce((sum, column) => sum + column.width, 0);
  const first = rows.indexOf(active) < 0 ? keyOf(rows.at(0)) : active;
  return (
    <div className="nv-grid" ref={scroll} data-testid="grid" {...pointer}>
      <Table
        role="grid"
        variant="compact"
        aria-label={t('table')}
        aria-rowcount={more ? -1 : rows.length + 2}
        gridBreakPoint=""
        className={`nv-size-${size}`}
        style={{ minWidth: `${width}rem` }}
      >
        <colgroup>
          {columns.map((column) => (
            <col key={column.id} style={column.grows ? undefined : { width: `${column.width}rem` }} />
          ))}
        </colgroup>
        <Thead hasNestedHeader>
          <Tr aria-rowindex={1}>
            {headings(columns).map(({ group, span }, index) => (
              <Th
                key={index}
                colSpan={span}
                hasRightBorder
                scope="colgroup"
                screenReaderText={group === 'common' ? t('group.common') : undefined}
              >
                {group === 'common' ? undefined : t(`group.${group}`)}
              </Th>
            ))}
          </Tr>
          <Tr aria-rowindex={2}>
            {columns.map((column) => (
              <Th
                key={column.id}
                isSubheader
                modifier="truncate"
                className={column.number ? 'nv-number' : undefined}
                aria-sort={column.id === 'end' ? 'descending' : undefined}
              >
                {t(`column.${column.id}`)}
              </Th>
            ))}
          </Tr>
        </Thead>
        <tbody className="pf-v6-c-table__tbody" role="rowgroup">
          <Space height={before} />
          {items.map(({ index, item, key, slot, height }) =>
            item.kind === 'lost' ? (
              <tr key={slot} className="pf-v6-c-table__tr" role="row" aria-rowindex={index + 3} style={{ height }}>
                <td colSpan={columns.length} className="pf-v6-c-table__td" role="gridcell">
                  <Lost updates={item.updates} />
                </td>
              </tr>
            ) : (
              <tr
                key={slot}
                className={`pf-v6-c-table__tr pf-m-clickable${key === chosen ? ' pf-m-selected' : ''}`}
                role="row"
                id={`row-${key}`}
                data-testid="row"
                aria-rowindex={index + 3}
                aria-selected={key === chosen}
                tabIndex={key === first ? 0 : -1}
                style={{ height }}
                ref={(row: HTMLTableRowElement | null) => {
                  if (!row || key !== active || !grab.current) return;
                  grab.current = false;
                  row.focus({ preventScroll: true });
                }}
                onFocus={() => onActive(key)}
                onClick={() => onOpen(item.connection)}
                onKeyDown={(event: KeyboardEvent) => {
                  if (event.key !== 'Enter' || event.target !== event.currentTarget) return;
                  event.preventDefault();
                  onOpen(item.connection);
                }}
              >
                <Cells connection={item.connection} columns={columns} />
              </tr>
            ),
          )}
          <Space height={behind} />
        </tbody>
      </Table>
    </div>
  );
}

/** Keeps the place of the lines that are not there. */
function Space({ height }: { height: number }) {
  if (height <= 0) return null;
  return (
    <tr aria-hidden="true" className="nv-space">
      <td style={{ height }} />
    </tr>
  );
}

/**
 * A line's cells, which stay as they are while others come and go. They are PatternFly's in looks only: its own keep a
 * state each.
 */
const Cells = memo(function Cells({ connection, columns }: { connection: Connection; columns: GridProps['columns'] }) {
  return columns.map((column) => (
    <td
      key={column.id}
      role="gridcell"
      className={`pf-v6-c-table__td pf-m-truncate${column.number ? ' nv-number' : ''}`}
    >
      {column.show(connection)}
    </td>
  ));
});
