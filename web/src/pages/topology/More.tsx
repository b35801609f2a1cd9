import { Button } from '@patternfly/react-core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

const ROWS = 100;

/** The first rows of many, and how to have more of them. */
export function useMore<T>(all: T[]) {
  const [rows, setRows] = useState(ROWS);
  return { shown: all.slice(0, rows), more: { left: all.length - rows, onMore: () => setRows(rows + ROWS) } };
}

export function More({ left, onMore }: { left: number; onMore: () => void }) {
  const { t } = useTranslation('topology');
  if (left <= 0) return null;
  return (
    <Button variant="link" onClick={onMore}>
      {t('rows.more', { count: Math.min(left, ROWS) })}
    </Button>
  );
}
