import { Alert, Breadcrumb, BreadcrumbItem, Button, Flex, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router-dom';
import { objectOf } from '../../parts/ends';
import { Asked } from '../../parts/states';
import { usePolicy } from '../../parts/usePolicy';
import { useKeys } from '../../state/keys';
import { useTo } from '../../state/url';
import { putDraft } from '../../state/whatif';
import { Acls } from './Acls';
import { DefaultDeny } from './DefaultDeny';
import { Kind } from './Kind';
import { PolicyYaml } from './PolicyYaml';
import { Rules } from './Rules';
import type { Policy } from './used';

/** One policy: its rules with their use, what default deny drops for it, its YAML, its ACLs. */
export function PolicyView({ policy, all }: { policy: string; all: Policy[] }) {
  const { t } = useTranslation('policies');
  const to = useTo();
  const navigate = useNavigate();
  useKeys({ Escape: () => void navigate(to('/policies')) });
  const asked = usePolicy(policy);
  const used = all.find(({ ref }) => ref === policy);
  const object = used && objectOf(used.owner);
  return (
    <div className="nv-policy">
      <Breadcrumb>
        <BreadcrumbItem
          render={({ className }) => (
            <Link className={className} to={to('/policies')}>
              {t('title')}
            </Link>
          )}
        />
        <BreadcrumbItem isActive>{policy.split('/').filter(Boolean).join(' / ')}</BreadcrumbItem>
      </Breadcrumb>
      <Flex justifyContent={{ default: 'justifyContentSpaceBetween' }} rowGap={{ default: 'rowGapSm' }}>
        <Title headingLevel="h2">
          <Kind policy={policy} />
        </Title>
        {used?.inForce && object && (
          <Button
            variant="secondary"
            size="sm"
            onClick={() => putDraft({ text: '' })}
            component={(props) => <Link {...props} to={to('/whatif', { remove: object })} />}
          >
            {t('without')}
          </Button>
        )}
      </Flex>
      {used && !used.inForce && <Alert isInline variant="info" title={t('gone_long')} />}
      {used && <Rules policy={used} acls={asked.data?.acls ?? []} />}
      <Asked query={asked}>
        {(known) => (
          <>
            <DefaultDeny policy={policy} known={known} all={all} />
            <PolicyYaml known={known} used={used} />
            <Acls known={known} />
          </>
        )}
      </Asked>
    </div>
  );
}
