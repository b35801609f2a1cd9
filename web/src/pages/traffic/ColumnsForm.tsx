import { Button, Checkbox, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core';
import { GripVerticalIcon } from '@patternfly/react-icons';
import { useRef, useState, type KeyboardEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { COLUMNS, DEFAULT, moved, type ColumnId } from './columns';

interface ColumnsFormProps {
  chosen: ColumnId[];
  onChoose: (columns: ColumnId[]) => void;
  onClose: () => void;
}

/** Which columns, and in which order: by dragging, or by arrow keys on a column's handle. */
export function ColumnsForm({ chosen, onChoose, onClose }: ColumnsFormProps) {
  const { t } = useTranslation('traffic');
  const [order, setOrder] = useState<ColumnId[]>(() => complete(chosen));
  const [on, setOn] = useState<ReadonlySet<ColumnId>>(() => new Set(chosen));
  const [told, tell] = useState('');
  const [over, setOver] = useState<ColumnId | null>(null);
  const dragged = useRef<ColumnId | null>(null);
  const nameOf = (id: ColumnId) => {
    const group = COLUMNS.find((column) => column.id === id)?.group;
    const own = t(`column.${id}`);
    return group === 'source' || group === 'destination' ? t('columns.of', { group: t(`group.${group}`), own }) : own;
  };
  const put = (id: ColumnId, to: number) => {
    const next = moved(order, order.indexOf(id), to);
    setOrder(next);
    tell(t('columns.moved', { name: nameOf(id), place: next.indexOf(id) + 1, all: next.length }));
  };
  const press = (event: KeyboardEvent, id: ColumnId) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    put(id, order.indexOf(id) + by);
  };
  const choose = (id: ColumnId, is: boolean) => setOn(new Set(is ? [...on, id] : [...on].filter((one) => one !== id)));
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-label={t('columns.title')}>
      <ModalHeader title={t('columns.title')} description={t('columns.hint')} />
      <ModalBody>
        <div aria-live="polite" className="pf-v6-u-screen-reader">
          {told}
        </div>
        <ul className="nv-columns">
          {order.map((id) => (
            <li
              key={id}
              draggable
              className={over === id ? 'nv-column-over' : undefined}
              onDragStart={(event) => {
                dragged.current = id;
                event.dataTransfer.effectAllowed = 'move';
                event.dataTransfer.setData('text/plain', id);
              }}
              onDragOver={(event) => {
                if (!dragged.current) return;
                event.preventDefault();
                setOver(id);
              }}
              onDragEnd={() => {
                dragged.current = null;
                setOver(null);
              }}
              onDrop={(event) => {
                event.preventDefault();
                setOver(null);
                if (dragged.current) put(dragged.current, order.indexOf(id));
              }}
            >
              <Button
                variant="plain"
                size="sm"
                icon={<GripVerticalIcon />}
                aria-label={t('columns.move', { name: nameOf(id) })}
                onKeyDown={(event) => press(event, id)}
              />
              <Checkbox
                id={`column-${id}`}
                label={nameOf(id)}
                isChecked={on.has(id)}
                onChange={(_, is) => choose(id, is)}
              />
            </li>
          ))}
        </ul>
      </ModalBody>
      <ModalFooter>
        <Button
          isDisabled={on.size === 0}
          onClick={() => {
            onChoose(order.filter((id) => on.has(id)));
            onClose();
          }}
        >
          {t('columns.save')}
        </Button>
        <Button variant="link" onClick={() => setOn(new Set(order))}>
          {t('columns.all')}
        </Button>
        <Button
          variant="link"
          onClick={() => {
            setOrder(complete(DEFAULT));
            setOn(new Set(DEFAULT));
          }}
        >
          {t('columns.restore')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('columns.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  );
}

/** Those chosen in their order; each other one behind the one that it stands behind if nobody moved any. */
function complete(chosen: readonly ColumnId[]): ColumnId[] {
  const order = [...chosen];
  COLUMNS.forEach(({ id }, index) => {
    if (order.includes(id)) return;
    const before = COLUMNS[index - 1]?.id;
    order.splice(before ? order.indexOf(before) + 1 : 0, 0, id);
  });
  return order;
}
