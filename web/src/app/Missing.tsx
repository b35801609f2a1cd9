import { EmptyState, EmptyStateFooter } from '@patternfly/react-core';
import { SearchIcon } from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';

export function Missing() {
  const { t } = useTranslation();
  return (
    <EmptyState icon={SearchIcon} titleText={t('missing.title')} headingLevel="h1">
      <EmptyStateFooter>
        <Link to="/traffic">{t('missing.home')}</Link>
      </EmptyStateFooter>
    </EmptyState>
  );
}
