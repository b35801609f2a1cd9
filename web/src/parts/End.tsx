import { useTranslation } from 'react-i18next';
import type { End as Is } from '../api/client';
import { endName, type Service } from './ends';

const LETTERS = {
  pod: 'P',
  service: 'S',
  node: 'N',
  external: 'E',
  gateway: 'G',
  join: 'J',
  management: 'M',
  masquerade: 'Q',
  port: 'L',
  none: 'A',
} as const;

type Kind = keyof typeof LETTERS;

/** One end of a connection: what it is, its name, else its address; with its port if `port` is set. */
export function End({ end, port = false }: { end: Is; port?: boolean }) {
  return <Named kind={end.kind ?? 'none'} name={endName(end)} port={port ? end.port : undefined} title={end.ip} />;
}

/** The service that a client spoke to. */
export function ServiceEnd({ service, port = false }: { service: Service; port?: boolean }) {
  const name = service.namespace ? `${service.namespace}/${service.name}` : service.name;
  return <Named kind="service" name={name} port={port ? service.port : undefined} title={service.ip} />;
}

/** The letter that tells what something is. */
export function Badge({ kind }: { kind: Kind }) {
  const { t } = useTranslation();
  const name = t(`end.kind.${kind}`);
  return (
    <abbr className={`nv-badge nv-badge-${kind}`} title={name} aria-label={name}>
      {LETTERS[kind]}
    </abbr>
  );
}

interface NamedProps {
  kind: Kind;
  name: string;
  port: number | undefined;
  title: string;
}

function Named({ kind, name, port, title }: NamedProps) {
  return (
    <span className="nv-end">
      <Badge kind={kind} />
      <span className="nv-cut" title={name === title ? name : `${name} (${title})`}>
        {name}
      </span>
      {port !== undefined && <span className="nv-port">:{port}</span>}
    </span>
  );
}
