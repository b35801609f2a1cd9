import { PageSection, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';

export default function Topology() {
  const { t } = useTranslation('topology');
  return (
    <PageSection>
      <Title headingLevel="h1">{t('title')}</Title>
    </PageSection>
  );
}
