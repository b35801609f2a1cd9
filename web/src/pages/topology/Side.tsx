import { Button } from '@patternfly/react-core';
import { TimesIcon } from '@patternfly/react-icons';
import { useEffect, useRef, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

/** What is opened, in place of the list; takes the focus, so that one reads on there. */
export function Side({ title, onClose, children }: { title: ReactNode; onClose: () => void; children: ReactNode }) {
  const { t } = useTranslation('topology');
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <section className="nv-side">
      <div className="nv-side-head">
        <h2 className="pf-v6-c-title pf-m-lg" ref={heading} tabIndex={-1}>
          {title}
        </h2>
        <Button variant="plain" icon={<TimesIcon />} aria-label={t('back')} onClick={onClose} />
      </div>
      {children}
    </section>
  );
}
