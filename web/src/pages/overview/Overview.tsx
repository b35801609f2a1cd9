import { PageSection, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { RangePicker } from '../../parts/RangePicker';
import { VerdictBars } from '../../parts/VerdictBars';

export default function Overview() {
  const { t } = useTranslation('overview');
  return (
    <PageSection>
      <Title headingLevel="h1">{t('title')}</Title>
      <RangePicker />
      <VerdictBars />
    </PageSection>
  );
}
