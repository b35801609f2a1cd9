import { ClipboardCopyButton, CodeBlock, CodeBlockAction, CodeBlockCode } from '@patternfly/react-core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Connection } from '../../api/client';

/** A connection as the API tells it. */
export function Raw({ connection }: { connection: Connection }) {
  const { t } = useTranslation('traffic');
  const [copied, setCopied] = useState(false);
  const text = JSON.stringify(connection, undefined, 2);
  return (
    <CodeBlock
      actions={
        <CodeBlockAction>
          <ClipboardCopyButton
            id="copy-raw"
            aria-label={t('drawer.copy')}
            variant="plain"
            onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}
            onTooltipHidden={() => setCopied(false)}
          >
            {t(copied ? 'drawer.copied' : 'drawer.copy')}
          </ClipboardCopyButton>
        </CodeBlockAction>
      }
    >
      <CodeBlockCode>{text}</CodeBlockCode>
    </CodeBlock>
  );
}
