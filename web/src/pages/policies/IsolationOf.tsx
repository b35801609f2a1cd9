import { Card, CardBody, CardTitle, Grid, GridItem, Label, TextInput } from '@patternfly/react-core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Owner, Schemas } from '../../api/client';
import { policyRef } from '../../parts/ends';
import { Asked } from '../../parts/states';
import { Place } from '../../parts/trace/Place';
import '../../parts/trace/trace.css';
import { useTo, useUrl } from '../../state/url';
import { useRefs } from '../explain/useRefs';
import { Kind } from './Kind';
import { useIsolation } from './usePolicies';

/** What isolates a pod that is chosen. */
export function IsolationOf() {
  const { t } = useTranslation('policies');
  const [pod, setPod] = useUrl('pod');
  const [draft, setDraft] = useState(pod);
  const pods = useRefs().filter((ref) => ref.split('/').length === 2 && !ref.startsWith('node/'));
  const isolation = useIsolation(pod);
  const choose = (value: string) => {
    setDraft(value);
    if (value === '' || pods.includes(value)) setPod(value);
  };
  return (
    <Card isCompact>
      <CardTitle component="h2">{t('isolation.title')}</CardTitle>
      <CardBody>
        <datalist id="policies-pods">
          {pods.map((pod) => (
            <option key={pod} value={pod} />
          ))}
        </datalist>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            setPod(draft.trim());
          }}
        >
          <TextInput
            list="policies-pods"
            autoComplete="off"
            aria-label={t('isolation.pod')}
            placeholder={t('isolation.pod')}
            value={draft}
            onChange={(_, value) => choose(value)}
          />
        </form>
        {pod && (
          <Asked query={isolation}>
            {({ ingress, egress }) => (
              <Grid hasGutter md={6} aria-live="polite">
                <Direction title={t('isolation.ingress')} of={ingress} />
                <Direction title={t('isolation.egress')} of={egress} />
              </Grid>
            )}
          </Asked>
        )}
      </CardBody>
    </Card>
  );
}

function Direction({ title, of }: { title: string; of: Schemas['Isolated'] }) {
  const { t } = useTranslation('policies');
  const to = useTo();
  const refs = [...new Set(of.asked.map((owner) => policyRef(owner as unknown as Owner)))];
  return (
    <GridItem>
      <h3 className="nv-policies-direction">
        {title}{' '}
        <Label isCompact variant="outline" color={of.isolated ? 'orange' : 'green'}>
          {t(of.isolated ? 'isolation.isolated' : 'isolation.open')}
        </Label>
      </h3>
      {of.by.length > 0 && (
        <>
          <p>{t('isolation.by')}</p>
          <ul className="nv-places">
            {of.by.map((source) => (
              <li key={source.object}>
                <Place
                  source={{
                    object: source.object,
                    ...(source.file != null && { file: source.file }),
                    ...(source.line != null && { line: source.line }),
                  }}
                />
              </li>
            ))}
          </ul>
        </>
      )}
      {of.isolated && !of.complete && <p className="nv-subtle-text">{t('isolation.incomplete')}</p>}
      {refs.length > 0 && (
        <>
          <p>{t('isolation.asked')}</p>
          <ul className="nv-places">
            {refs.map((ref) => (
              <li key={ref}>
                <Link to={to('/policies', { policy: ref })}>
                  <Kind policy={ref} />
                </Link>
              </li>
            ))}
          </ul>
        </>
      )}
    </GridItem>
  );
}
