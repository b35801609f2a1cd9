import { Switch } from '@patternfly/react-core';
import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table';
import { useId, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { isTelling, legs } from './steps';
import type { Step } from './types';

/** A packet's way step by step: tables with match and actions, what they change, connection tracking, samples. */
export function Walk({ walk }: { walk: Step[] }) {
  const { t } = useTranslation('trace');
  const id = useId();
  const [all, setAll] = useState(false);
  return (
    <>
      <Switch id={id} label={t('walk.all')} isChecked={all} onChange={(_, on) => setAll(on)} />
      {legs(walk).map((leg, place) => (
        <section key={place}>
          <h5>
            {leg.switch ? t('walk.switch', leg as { switch: string; zone: string }) : t('walk.between', { ...leg })}
          </h5>
          <Steps steps={all ? leg.steps : leg.steps.filter(isTelling)} />
        </section>
      ))}
    </>
  );
}

function Steps({ steps }: { steps: Step[] }) {
  const { t } = useTranslation('trace');
  return (
    <Table variant="compact" gridBreakPoint="grid-lg" className="nv-walk" aria-label={t('walk.title')}>
      <Thead>
        <Tr>
          <Th>{t('walk.where')}</Th>
          <Th>{t('walk.what')}</Th>
          <Th>{t('walk.changes')}</Th>
          <Th>{t('walk.ct')}</Th>
        </Tr>
      </Thead>
      <Tbody>
        {steps.map((step, place) => (
          <Tr key={place} data-step={step.step}>
            <Td dataLabel={t('walk.where')}>{step.table ? <code>{step.table}</code> : t(`step.${step.step}`)}</Td>
            <Td dataLabel={t('walk.what')}>
              <What step={step} />
            </Td>
            <Td dataLabel={t('walk.changes')}>
              <Changes step={step} />
            </Td>
            <Td dataLabel={t('walk.ct')}>
              {step.ct}
              {step.ct_zone !== undefined && (
                <span className="nv-subtle-text"> {t('walk.zone', { zone: step.ct_zone })}</span>
              )}
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  );
}

function What({ step }: { step: Step }) {
  const { t } = useTranslation('trace');
  const { packet, port, router, balancer, match, actions, priority, acl, app, point, set, probability } = step;
  return (
    <>
      {acl && (
        <div>
          <strong>{acl.message}</strong>
        </div>
      )}
      {match && (
        <div>
          <code>{match}</code> <span className="nv-subtle-text">{t('walk.priority', { priority })}</span>
        </div>
      )}
      {actions && (
        <div>
          → <code>{actions}</code>
        </div>
      )}
      {port && <div>{t('walk.port', { port })}</div>}
      {router && <div>{t('walk.router', { router })}</div>}
      {balancer && <div>{t('walk.balancer', { balancer })}</div>}
      {packet && (
        <div>
          <code>{packet}</code>
        </div>
      )}
      {app && <div>{t('walk.sample', { app, point, set, share: ((probability ?? 0) / 655.35).toFixed(1) })}</div>}
    </>
  );
}

function Changes({ step }: { step: Step }) {
  const { t } = useTranslation('trace');
  const { changes = [], mark, label } = step;
  return (
    <>
      {changes.map(({ field, meaning, before, after }) => (
        <div key={field}>
          {meaning ?? <code>{field}</code>}: <code>{before}</code> → <code>{after}</code>
          {meaning && (
            <span className="nv-subtle-text">
              {' '}
              (<code>{field}</code>)
            </span>
          )}
        </div>
      ))}
      {mark !== undefined && <div>{t('walk.mark', { mark: mark.toString(16) })}</div>}
      {label && <div>{t('walk.label', { label })}</div>}
    </>
  );
}
