import { PageSection, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';

export default function Policies() {
  const { t } = useTranslation('policies');
  return (
    <PageSection>
      <Title headingLevel="h1">{t('title')}</Title>
    </PageSection>
  );
}
