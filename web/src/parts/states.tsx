import { Bullseye, Button, EmptyState, EmptyStateBody, EmptyStateFooter, Spinner } from '@patternfly/react-core';
import { CubesIcon, ExclamationCircleIcon } from '@patternfly/react-icons';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { ProblemError } from '../api/client';

export function Loading() {
  const { t } = useTranslation();
  return (
    <Bullseye>
      <Spinner aria-label={t('loading')} />
    </Bullseye>
  );
}

/** What went wrong, and what to do. A wrong query is shown with the place. */
export function Failed({ error, again }: { error: Error; again?: () => void }) {
  const { t } = useTranslation();
  const problem = error instanceof ProblemError ? error.problem : undefined;
  return (
    <EmptyState
      status="danger"
      icon={ExclamationCircleIcon}
      titleText={problem?.title ?? t('error.title')}
      headingLevel="h2"
    >
      <EmptyStateBody>
        {problem?.report ? <pre className="nv-report">{problem.report}</pre> : problem?.detail || t('error.hint')}
      </EmptyStateBody>
      {again && (
        <EmptyStateFooter>
          <Button variant="link" onClick={again}>
            {t('error.again')}
          </Button>
        </EmptyStateFooter>
      )}
    </EmptyState>
  );
}

export function Empty({ title, children }: { title?: string; children?: ReactNode }) {
  const { t } = useTranslation();
  return (
    <EmptyState icon={CubesIcon} titleText={title ?? t('empty.title')} headingLevel="h2">
      <EmptyStateBody>{children ?? t('empty.hint')}</EmptyStateBody>
    </EmptyState>
  );
}

/** Shows what was asked for; before, that it is awaited; instead, what went wrong. */
export function Asked<T>({ query, children }: { query: UseQueryResult<T, Error>; children: (data: T) => ReactNode }) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <Failed error={query.error} again={() => void query.refetch()} />;
  return <Loading />;
}
