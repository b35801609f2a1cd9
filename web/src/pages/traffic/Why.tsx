import { Alert, Button } from '@patternfly/react-core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { data, useApi, type Connection } from '../../api/client';
import { endRef, portRef, targetRef } from '../../parts/ends';
import { Asked } from '../../parts/states';
import { Trace } from '../../parts/Trace';

/** How such a connection fares with the policies of now: every tier, what came closest, what would let it through. */
export function Why({ connection }: { connection: Connection }) {
  const { t } = useTranslation('traffic');
  const denied = connection.verdict === 'dropped' || connection.verdict === 'rejected';
  const [wanted, want] = useState(false);
  if (!denied && !wanted)
    return (
      <Button variant="secondary" onClick={() => want(true)}>
        {t('why.ask')}
      </Button>
    );
  return <Answer connection={connection} />;
}

function Answer({ connection }: { connection: Connection }) {
  const { t } = useTranslation('traffic');
  const { client } = useApi();
  const question = { ...questionOf(connection), at: connection.end };
  const asked = useQuery({
    queryKey: ['explain', question],
    queryFn: ({ signal }) => data(client.POST('/api/v1/explain', { body: question, signal })),
    staleTime: 10_000,
  });
  return (
    <Asked query={asked}>
      {(explanation) => (
        <>
          {explanation.verdict !== connection.verdict && connection.verdict !== 'delegated' && (
            <Alert isInline variant="info" title={t('why.otherwise')}>
              {t('why.now')}
            </Alert>
          )}
          <Trace explanation={explanation} />
        </>
      )}
    </Asked>
  );
}

/** What `explain` is asked about a connection. */
export function questionOf(connection: Connection) {
  const { src, network } = connection;
  const port = portRef(connection);
  return { from: endRef(src, network), to: targetRef(connection), ...(port && { port }) };
}
