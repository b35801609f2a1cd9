import {
  Divider,
  Dropdown,
  DropdownItem,
  DropdownList,
  MenuToggle,
  Select,
  SelectGroup,
  SelectList,
  SelectOption,
} from '@patternfly/react-core';
import { FilterIcon, SlidersHIcon } from '@patternfly/react-icons';
import { memo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { chooseDrops, DROPS, drops, isOn, QUICK, toggle, type Drops, type Quick } from './quick';
import type { Filters } from './useFilters';

export const LIMITS = [50, 100, 500, 1000] as const;

interface OptionsProps {
  filters: Filters;
  limit: number;
  onLimit: (limit: number) => void;
}

/** How many a page, and which by their drops. */
export const QueryOptions = memo(function QueryOptions({ filters, limit, onLimit }: OptionsProps) {
  const { t } = useTranslation('traffic');
  const [open, setOpen] = useState(false);
  const chosen = drops(filters.query);
  return (
    <Select
      isOpen={open}
      onOpenChange={setOpen}
      selected={[`drops ${chosen}`, `limit ${limit}`]}
      onSelect={(_, value) => {
        const [what, choice = ''] = String(value).split(' ');
        if (what === 'limit') onLimit(Number(choice));
        else filters.put(chooseDrops(filters.query, choice as Drops));
      }}
      toggle={(ref) => (
        <MenuToggle ref={ref} icon={<SlidersHIcon />} isExpanded={open} onClick={() => setOpen(!open)}>
          {t('options.title')}
        </MenuToggle>
      )}
    >
      <SelectGroup label={t('options.drops')}>
        <SelectList>
          {(Object.keys(DROPS) as Drops[]).map((name) => (
            <SelectOption key={name} value={`drops ${name}`} description={t(`options.about.${name}`)}>
              {t(`options.${name}`)}
            </SelectOption>
          ))}
        </SelectList>
      </SelectGroup>
      <Divider />
      <SelectGroup label={t('options.limit')}>
        <SelectList>
          {LIMITS.map((limit) => (
            <SelectOption key={limit} value={`limit ${limit}`}>
              {limit}
            </SelectOption>
          ))}
        </SelectList>
      </SelectGroup>
    </Select>
  );
});

/** Queries that many ask. */
export const QuickFilters = memo(function QuickFilters({ filters }: { filters: Filters }) {
  const { t } = useTranslation('traffic');
  const [open, setOpen] = useState(false);
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={(_, name) => filters.put(toggle(filters.query, QUICK[name as Quick]))}
      toggle={(ref) => (
        <MenuToggle ref={ref} icon={<FilterIcon />} isExpanded={open} onClick={() => setOpen(!open)}>
          {t('quick.title')}
        </MenuToggle>
      )}
    >
      <DropdownList>
        {(Object.keys(QUICK) as Quick[]).map((name) => (
          <DropdownItem
            key={name}
            value={name}
            isSelected={isOn(filters.query, QUICK[name])}
            description={<code>{QUICK[name]}</code>}
          >
            {t(`quick.${name}`)}
          </DropdownItem>
        ))}
      </DropdownList>
    </Dropdown>
  );
});
