import { Label } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';

/** What a policy is, and its name. */
export function Kind({ policy }: { policy: string }) {
  const { t } = useTranslation('policies');
  const [kind = '', namespace = '', name = ''] = policy.split('/');
  const known = t(`kind.${kind}` as 'kind.NetworkPolicy', { defaultValue: kind });
  return (
    <span>
      <Label isCompact variant="outline">
        {known}
      </Label>{' '}
      {[namespace, name].filter(Boolean).join('/')}
    </span>
  );
}
