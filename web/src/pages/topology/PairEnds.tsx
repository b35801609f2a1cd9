import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Verdict as Word } from '../../api/client';
import { endName, endRef, portRef, targetRef } from '../../parts/ends';
import { connectionOf, ENDS, useLines } from '../../parts/lines';
import { Asked } from '../../parts/states';
import { Verdict } from '../../parts/Verdict';
import { useTo } from '../../state/url';
import { isDenied } from './graph';

const MOST = 50;
const SHOWN = 8;

/** The ends and ports of a query's connections, denied ones first, each with its explanation. */
export function PairEnds({ q }: { q: string }) {
  const { t } = useTranslation('topology');
  const link = useTo();
  const query = useLines(`${q} | count by ${ENDS}, verdict top ${MOST}`);
  return (
    <Asked query={query}>
      {({ lines, total }) => {
        const sorted = [...lines].sort(
          (one, other) => Number(isDenied(other.verdict as Word)) - Number(isDenied(one.verdict as Word)),
        );
        return (
          <>
            <ul className="nv-facts">
              {sorted.slice(0, SHOWN).map((line, index) => {
                const connection = connectionOf(line);
                const port = portRef(connection);
                const service = connection.service;
                return (
                  <li key={index}>
                    <Verdict verdict={connection.verdict} /> {Number(line.count).toLocaleString()} ·{' '}
                    {endName(connection.src)} →{' '}
                    {service
                      ? `svc/${service.namespace ? `${service.namespace}/` : ''}${service.name}`
                      : endName(connection.dst)}{' '}
                    {port} ·{' '}
                    <Link
                      to={link('/explain', {
                        from: endRef(connection.src),
                        to: targetRef(connection),
                        ...(port && { port }),
                      })}
                    >
                      {t('explain')}
                    </Link>
                  </li>
                );
              })}
            </ul>
            {total > SHOWN && <p>{t('moreRows', { count: total - SHOWN })}</p>}
          </>
        );
      }}
    </Asked>
  );
}
