import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Connection, End } from '../../api/client';
import { and, quoted } from '../../parts/clauses';
import { endName, endRef, portRef, targetRef } from '../../parts/ends';
import { connectionOf, ENDS, useLines } from '../../parts/lines';
import { Asked } from '../../parts/states';
import { useTo } from '../../state/url';
import { Panel } from './Panel';
import { Ranked } from './Ranked';

const MOST = 8;
const DENIED = 'verdict in (dropped, rejected)';

/** Who is denied most to talk to whom, each with its explanation. */
export function DeniedPairs() {
  const { t } = useTranslation('overview');
  const link = useTo();
  const query = useLines(`${DENIED} | count by ${ENDS} top ${MOST}`);
  return (
    <Panel title={t('pairs.title')} more={{ to: link('/traffic', { q: DENIED }), text: t('pairs.all') }}>
      <Asked query={query}>
        {({ lines, total }) =>
          lines.length === 0 ? (
            <p>{t('pairs.none')}</p>
          ) : (
            <>
              <Ranked
                rows={lines.map((line, index) => {
                  const connection = connectionOf(line);
                  const port = portRef(connection);
                  const target = connection.service ? targetRef(connection) : endName(connection.dst);
                  return {
                    key: String(index),
                    count: Number(line.count),
                    name: (
                      <Link to={link('/traffic', { q: clauseOf(connection) })}>
                        {endName(connection.src)} → {target} {port}
                      </Link>
                    ),
                    facts: (
                      <>
                        {Number(line.count).toLocaleString()} ·{' '}
                        <Link
                          to={link('/explain', {
                            from: endRef(connection.src),
                            to: targetRef(connection),
                            ...(port && { port }),
                          })}
                        >
                          {t('pairs.explain')}
                        </Link>
                      </>
                    ),
                  };
                })}
              />
              {total > lines.length && <p>{t('pairs.more', { count: total - lines.length })}</p>}
            </>
          )
        }
      </Asked>
    </Panel>
  );
}

/** What finds the connections of these two on this port that were denied. */
function clauseOf({ src, dst }: Connection): string {
  const port = dst.port === undefined ? '' : `dst.port=${dst.port}`;
  return and(DENIED, end('src', src), end('dst', dst), port);
}

function end(side: string, { namespace, pod, ip }: End): string {
  return pod && namespace ? `${side}.pod=${quoted(`${namespace}/${pod}`)}` : `${side}.ip=${ip}`;
}
