import { PageSection } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { PageHead } from '../../parts/PageHead';
import { VerdictBars } from '../../parts/VerdictBars';
import { useTo } from '../../state/url';
import { DeniedPairs } from './DeniedPairs';
import { OpenNamespaces } from './OpenNamespaces';
import './overview.css';
import { Panel } from './Panel';
import { Sampling } from './Sampling';
import { TopPolicies } from './TopPolicies';
import { Totals } from './Totals';

export default function Overview() {
  const { t } = useTranslation('overview');
  const link = useTo();
  return (
    <PageSection>
      <PageHead title={t('title')} />
      <div className="nv-panels">
        <Panel title={t('time')} more={{ to: link('/traffic'), text: t('traffic') }} className="nv-panel-wide">
          <VerdictBars />
        </Panel>
        <Totals />
        <Sampling />
        <DeniedPairs />
        <TopPolicies by="drops" />
        <TopPolicies by="connections" />
        <OpenNamespaces />
      </div>
    </PageSection>
  );
}
