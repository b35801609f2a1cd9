import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Connection, Verdict as Word } from '../../api/client';
import { endName, endRef, portRef, targetRef } from '../../parts/ends';
import { Asked } from '../../parts/states';
import { Verdict } from '../../parts/Verdict';
import { useTo } from '../../state/url';
import { isDenied } from './graph';
import { useLines, type Line } from './useLines';

const MOST = 50;
const SHOWN = 8;
const END = ['namespace', 'kind', 'name', 'ip'];
const BY = [
  ...['src', 'dst'].flatMap((side) => END.map((field) => `${side}.${field}`)),
  ...['service.namespace', 'service.name', 'service.port', 'protocol', 'dst.port', 'verdict'],
].join(', ');

/** The ends and ports of a query's connections, denied ones first, each with its explanation. */
export function PairEnds({ q }: { q: string }) {
  const { t } = useTranslation('topology');
  const link = useTo();
  const query = useLines(`${q} | count by ${BY} top ${MOST}`);
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

/** As much of a connection as names its ends. */
function connectionOf(line: Line): Connection {
  const text = (name: string) => (typeof line[name] === 'string' ? line[name] : undefined);
  const number = (name: string) => (typeof line[name] === 'number' ? line[name] : undefined);
  const end = (side: string) => {
    const [kind, name] = [text(`${side}.kind`), text(`${side}.name`)];
    return {
      ip: text(`${side}.ip`) ?? '',
      kind,
      namespace: text(`${side}.namespace`),
      name,
      pod: kind === 'pod' ? name : undefined,
      port: number(`${side}.port`),
    };
  };
  const service = text('service.name');
  return {
    src: end('src'),
    dst: end('dst'),
    protocol: text('protocol'),
    verdict: text('verdict'),
    ...(service && { service: { name: service, namespace: text('service.namespace'), port: number('service.port') } }),
  } as unknown as Connection;
}
