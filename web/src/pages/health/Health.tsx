import { PageSection, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';

export default function Health() {
  const { t } = useTranslation('health');
  return (
    <PageSection>
      <Title headingLevel="h1">{t('title')}</Title>
    </PageSection>
  );
}
