import { Alert, Button, Flex } from '@patternfly/react-core';
import { CheckIcon, CopyIcon } from '@patternfly/react-icons';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router-dom';
import { useTo } from '../../state/url';
import { putDraft } from '../../state/whatif';
import { Diff } from './Diff';
import { fixText, kubectl } from './fixes';
import type { Fix } from './types';

interface Props {
  fix: Fix;
  /** Which connections What if is to show. */
  query?: string;
}

/** The smallest change that lets a connection through, what else it opens and closes, and what to do with it. */
export function FixView({ fix, query }: Props) {
  const { t } = useTranslation('trace');
  const navigate = useNavigate();
  const to = useTo();
  const { parts, opens, closes, complete } = fix;
  const text = fixText(fix);
  const commands = parts.map(kubectl);
  return (
    <section>
      <h4>{t('fix')}</h4>
      {parts.map((part, place) => (
        <div key={place}>
          <p>{part.message}</p>
          {part.diff && <Diff diff={part.diff} />}
        </div>
      ))}
      {opens.length === 0 ? (
        <p>{t(complete ? 'opens.nothing' : 'opens.unseen')}</p>
      ) : (
        <Alert isInline isPlain variant="warning" title={t('opens.also', { count: opens.length })}>
          <Ends ends={opens} />
          {!complete && <p>{t('opens.more')}</p>}
        </Alert>
      )}
      {closes.length > 0 && (
        <Alert isInline isPlain variant="danger" title={t('closes', { count: closes.length })}>
          <Ends ends={closes} />
        </Alert>
      )}
      <Flex>
        <Button
          isDisabled={!text}
          onClick={() => {
            putDraft({ text, query });
            void navigate(to('/whatif'));
          }}
        >
          {t('try')}
        </Button>
        {commands.every(Boolean) && <Copy what={commands.join('\n')} label={t('copy.kubectl')} />}
        {text && <Copy what={text} label={t('copy.yaml')} />}
      </Flex>
    </section>
  );
}

function Ends({ ends }: { ends: string[] }) {
  return (
    <ul>
      {ends.map((end) => (
        <li key={end}>{end}</li>
      ))}
    </ul>
  );
}

function Copy({ what, label }: { what: string; label: string }) {
  const { t } = useTranslation('trace');
  const [copied, setCopied] = useState(false);
  return (
    <Button
      variant="link"
      icon={copied ? <CheckIcon /> : <CopyIcon />}
      onClick={() => void navigator.clipboard?.writeText(what).then(() => setCopied(true))}
    >
      {copied ? t('copy.done') : label}
    </Button>
  );
}
