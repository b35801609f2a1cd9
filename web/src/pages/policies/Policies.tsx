import { PageSection } from '@patternfly/react-core';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import { PageHead } from '../../parts/PageHead';
import { Asked } from '../../parts/states';
import { useUrl } from '../../state/url';
import { IsolationOf } from './IsolationOf';
import { PolicyList } from './PolicyList';
import { PolicyView } from './PolicyView';
import { policies } from './used';
import { useRules } from './usePolicies';
import './policies.css';

/** All policies with their use, or one of them. */
export default function Policies() {
  const { t } = useTranslation('policies');
  const [policy] = useUrl('policy');
  const rules = useRules();
  const all = useMemo(() => policies(rules.data?.items ?? []), [rules.data]);
  return (
    <PageSection isFilled className="nv-policies">
      <PageHead title={t('title')} />
      <Asked query={rules}>
        {({ more }) =>
          policy ? (
            <PolicyView key={policy} policy={policy} all={all} />
          ) : (
            <>
              <IsolationOf />
              <PolicyList all={all} more={more} />
            </>
          )
        }
      </Asked>
    </PageSection>
  );
}
