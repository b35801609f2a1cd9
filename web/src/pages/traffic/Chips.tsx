import {
  Button,
  Divider,
  Dropdown,
  DropdownItem,
  DropdownList,
  MenuToggle,
  type MenuToggleElement,
} from '@patternfly/react-core';
import { ArrowsAltHIcon, PlusCircleIcon, TimesIcon } from '@patternfly/react-icons';
import { memo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ChipForm } from './ChipForm';
import { join, negate, parse, side, sides, swap, turn, type Comparison, type Side, type Term } from './query';
import type { Filters } from './useFilters';

/** Where a chip stands: in the query, or set aside. */
interface Place {
  term: Term;
  index: number;
  aside: boolean;
}

const GROUPS = ['source', 'destination', 'common'] as const;

/** The query as chips, by the end that they are about. */
export const Chips = memo(function Chips({ filters }: { filters: Filters }) {
  const { t } = useTranslation('traffic');
  const { query, put, aside, putAside, putBoth, setQ, q } = filters;
  const [edited, edit] = useState<Place | 'new' | null>(null);
  const places: Place[] = [
    ...query.terms.map((term, index) => ({ term, index, aside: false })),
    ...aside.map((term, index) => ({ term, index, aside: true })),
  ];
  const replace = (place: Place, terms: Term[]) => {
    if (place.aside) putAside(aside.toSpliced(place.index, 1, ...terms));
    else put({ ...query, terms: query.terms.toSpliced(place.index, 1, ...terms) });
  };
  const toggle = ({ term, index, aside: off }: Place) =>
    off
      ? putBoth({ ...query, terms: [...query.terms, term] }, aside.toSpliced(index, 1))
      : putBoth({ ...query, terms: query.terms.toSpliced(index, 1) }, [...aside, term]);
  const groupOf = (term: Term) => {
    const own = side(term);
    return own === 'either' ? 'common' : own;
  };
  return (
    <div className="nv-chips" role="group" aria-label={t('chips.title')}>
      {GROUPS.map((group) => {
        const members = places.filter(({ term }) => groupOf(term) === group);
        if (members.length === 0) return null;
        return (
          <div key={group} className="nv-chip-group" role="group" aria-label={t(`chips.${group}`)}>
            <span className="nv-chip-group-name" aria-hidden="true">
              {t(`chips.${group}`)}
            </span>
            {members.map((place) => (
              <Chip
                key={`${place.aside} ${place.index} ${place.term.text}`}
                {...place}
                onEdit={() => edit(place)}
                onTurn={(to) => replace(place, [turn(place.term, to)])}
                onNegate={() => replace(place, [negate(place.term)])}
                onToggle={() => toggle(place)}
                onRemove={() => replace(place, [])}
              />
            ))}
          </div>
        );
      })}
      <Button variant="link" size="sm" icon={<PlusCircleIcon />} onClick={() => edit('new')}>
        {t('chips.add')}
      </Button>
      {places.length > 0 && (
        <>
          <Button
            variant="link"
            size="sm"
            icon={<ArrowsAltHIcon />}
            onClick={() => {
              const turned = parse(swap(join({ terms: query.terms, tail: '' }))).terms;
              putBoth({ ...query, terms: turned }, parse(swap(join({ terms: aside, tail: '' }))).terms);
            }}
          >
            {t('chips.swap')}
          </Button>
          <Button variant="link" size="sm" onClick={() => putBoth({ terms: [], tail: '' }, [])}>
            {t('chips.clear')}
          </Button>
        </>
      )}
      {edited && (
        <ChipForm
          term={edited === 'new' ? undefined : edited.term}
          onClose={() => edit(null)}
          onSave={(text) => {
            const { terms } = parse(text);
            if (edited !== 'new') replace(edited, terms);
            else if (q.trim() === '') setQ(text);
            else put({ ...query, terms: [...query.terms, ...terms] });
            edit(null);
          }}
        />
      )}
    </div>
  );
});

interface ChipProps extends Place {
  onEdit: () => void;
  onTurn: (to: Side) => void;
  onNegate: () => void;
  onToggle: () => void;
  onRemove: () => void;
}

function Chip({ term, aside, onEdit, onTurn, onNegate, onToggle, onRemove }: ChipProps) {
  const { t } = useTranslation('traffic');
  const [open, setOpen] = useState(false);
  const own = side(term);
  const others = sides(term).filter((side) => side !== own);
  const calls: Record<string, () => void> = { edit: onEdit, negate: onNegate, toggle: onToggle, remove: onRemove };
  return (
    <span className={aside ? 'nv-chip nv-chip-aside' : 'nv-chip'} data-testid="chip">
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={(_, value) => {
          setOpen(false);
          const name = String(value);
          if (calls[name]) calls[name]();
          else onTurn(name as Side);
        }}
        toggle={(ref: React.Ref<MenuToggleElement>) => (
          <MenuToggle
            ref={ref}
            size="sm"
            variant="plainText"
            isExpanded={open}
            onClick={() => setOpen(!open)}
            aria-label={t(aside ? 'chips.menuAside' : 'chips.menu', { query: term.text })}
          >
            {term.comparison ? <Said comparison={term.comparison} /> : <code>{term.text}</code>}
          </MenuToggle>
        )}
      >
        <DropdownList>
          <DropdownItem value="edit">{t('chips.edit')}</DropdownItem>
          {others.map((side) => (
            <DropdownItem key={side} value={side}>
              {t(`chips.as.${side}`)}
            </DropdownItem>
          ))}
          <DropdownItem value="negate">{t('chips.negate')}</DropdownItem>
          <DropdownItem value="toggle">{t(aside ? 'chips.enable' : 'chips.disable')}</DropdownItem>
          <Divider />
          <DropdownItem value="remove">{t('chips.remove')}</DropdownItem>
        </DropdownList>
      </Dropdown>
      <Button
        variant="plain"
        size="sm"
        icon={<TimesIcon />}
        aria-label={t('chips.removeThis', { query: term.text })}
        onClick={onRemove}
      />
    </span>
  );
}

function Said({ comparison: { field, operator, values, negated } }: { comparison: Comparison }) {
  const { t } = useTranslation('traffic');
  const name = field.replace(/^(src|dst)\./, '');
  const sign = operator === 'in' ? '=' : operator;
  return (
    <>
      {negated && <b>{t('chips.not')} </b>}
      {name} {sign} {values.join(t('chips.or'))}
    </>
  );
}
