import {
  Button,
  DescriptionList,
  DescriptionListDescription,
  DescriptionListGroup,
  DescriptionListTerm,
} from '@patternfly/react-core';
import { FilterIcon } from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';
import { Time } from '../../parts/Time';
import { comparisonOf, type Fact } from './facts';
import { add, has, of, remove } from './query';
import type { Filters } from './useFilters';

/** What is known, each with a button that asks for what has it too. */
export function FactList({ facts, filters }: { facts: Fact[]; filters: Filters }) {
  const { t } = useTranslation('traffic');
  return (
    <DescriptionList isCompact isHorizontal className="nv-facts" aria-label={t('drawer.facts')}>
      {facts.map((fact, index) => (
        <DescriptionListGroup key={index}>
          <DescriptionListTerm>{t(`fact.${fact.label}` as 'fact.ip')}</DescriptionListTerm>
          <DescriptionListDescription>
            <span className="nv-fact">
              <Value fact={fact} />
              {fact.field && <FilterOn fact={fact} filters={filters} />}
            </span>
          </DescriptionListDescription>
        </DescriptionListGroup>
      ))}
    </DescriptionList>
  );
}

function Value({ fact: { kind, value } }: { fact: Fact }) {
  if (kind === 'time') return <Time at={value} />;
  if (kind === 'code') return <code>{value}</code>;
  return <span>{value}</span>;
}

function FilterOn({ fact, filters: { query, put } }: { fact: Fact; filters: Filters }) {
  const { t } = useTranslation('traffic');
  const term = of(comparisonOf(fact));
  const on = has(query, term);
  return (
    <Button
      variant="plain"
      size="sm"
      icon={<FilterIcon />}
      aria-pressed={on}
      isClicked={on}
      aria-label={t(on ? 'drawer.unfilter' : 'drawer.filter', { query: term.text })}
      title={term.text}
      onClick={() => put(on ? remove(query, term) : add(query, term))}
    />
  );
}
