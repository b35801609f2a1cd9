import { SearchInput } from '@patternfly/react-core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Place } from './graph';

interface Props {
  value: string;
  onChange: (value: string) => void;
  found: Place[];
  /** Shows one of those found. */
  onShow: (place: Place) => void;
}

/** Finds places by name; Enter goes from one to the next. */
export function Find({ value, onChange, found, onShow }: Props) {
  const { t } = useTranslation('topology');
  const [at, setAt] = useState(0);
  const shown = found.length ? (at % found.length) + 1 : 0;
  const go = (by: number) => {
    const next = (at + by + found.length) % Math.max(1, found.length);
    const place = found[next];
    setAt(next);
    if (place) onShow(place);
  };
  return (
    <SearchInput
      className="nv-find"
      aria-label={t('find.label')}
      placeholder={t('find.label')}
      value={value}
      onChange={(_, value) => {
        setAt(-1);
        onChange(value);
      }}
      onClear={() => onChange('')}
      onSearch={() => go(1)}
      {...(value && {
        resultsCount: found.length ? t('find.found', { at: shown, count: found.length }) : t('find.none'),
      })}
      {...(found.length > 1 && { onNextClick: () => go(1), onPreviousClick: () => go(-1) })}
    />
  );
}
