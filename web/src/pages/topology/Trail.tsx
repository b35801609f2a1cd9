import { Breadcrumb, BreadcrumbItem } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Link, type To } from 'react-router-dom';
import { trail, type View } from './graph';

/** The way back from what was stepped into. */
export function Trail({ view, to }: { view: View; to: (view: View) => To }) {
  const { t } = useTranslation('topology');
  const steps = view.focus ? trail(view.focus) : [{ ...view, label: '' }];
  return (
    <Breadcrumb aria-label={t('trail.label')}>
      {steps.map((step, index) => {
        const label = step.label || t(`trail.${step.by}`);
        const isLast = index === steps.length - 1;
        return (
          <BreadcrumbItem key={step.focus} isActive={isLast}>
            {isLast ? label : <Link to={to(step)}>{label}</Link>}
          </BreadcrumbItem>
        );
      })}
    </Breadcrumb>
  );
}
