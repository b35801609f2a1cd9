import type { Schemas } from '../../api/client';
import type { Source } from '../../parts/trace/types';
import type { Tone, YamlNote, YamlProblem } from '../../parts/Yaml';

/** What POST /whatif says: docs/whatif.schema.json. */
export interface Answer {
  changes: Change[];
  unknown: Unknown[];
  summary: Summary;
  mistakes: Schemas['Mistake'][];
}

export interface Change {
  change: 'opened' | 'closed';
  pair: Pair;
  before: Side;
  after: Side;
}

export interface Unknown {
  pair: Pair;
  why: string;
  message: string;
}

export interface Pair {
  from: End;
  to: End;
  service: string | null;
  protocol: number;
  port: number | null;
  connections: number;
  allowed: number;
  denied: number;
  first: string;
  last: string;
}

interface End {
  address: string;
  endpoint: { kind: string; namespace?: string | null; name?: string | null } | null;
}

interface Side {
  verdict: 'allowed' | 'dropped' | 'rejected';
  by: { action: string; sentence: string; side: string; origins: Source[] }[];
}

export type Count = { pairs: number; connections: number };

export interface Summary {
  opened: Count;
  closed: Count;
  unknown: Count;
  judged: Count;
  not_reproduced: number;
  without_verdict: number;
}

/** What the server calls the text that it was given. */
const GIVEN = 'policies';
const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6', 132: 'sctp' };

/** Who it is. */
export function endOf({ address, endpoint }: End): string {
  if (!endpoint?.name) return address;
  return endpoint.namespace ? `${endpoint.namespace}/${endpoint.name}` : `${endpoint.kind}/${endpoint.name}`;
}

/** `9200/tcp`. */
export function portOf({ protocol, port }: Pair): string {
  const name = PROTOCOLS[protocol] ?? String(protocol);
  return port === null ? name : `${port}/${name}`;
}

/** The connections of a pair, as a query. */
export function queryOf({ from, to, protocol, port }: Pair): string {
  const end = (side: 'src' | 'dst', { address, endpoint }: End) =>
    endpoint?.kind === 'pod' && endpoint.namespace && endpoint.name
      ? [`${side}.namespace=${endpoint.namespace}`, `${side}.pod=${endpoint.name}`]
      : [`${side}.ip=${address}`];
  const name = PROTOCOLS[protocol];
  return [
    ...end('src', from),
    ...end('dst', to),
    ...(port === null ? [] : [`dst.port=${port}`]),
    ...(name ? [`protocol=${name}`] : []),
  ].join(' and ');
}

/** What is wrong with the text, in place. */
export function problems(mistakes: Schemas['Mistake'][]): YamlProblem[] {
  return mistakes.map(({ severity, message, line, column, end_line: endLine, end_column: endColumn }) => ({
    severity: severity === 'error' || severity === 'warning' ? severity : 'info',
    message,
    ...(line != null && { line }),
    ...(column != null && { column }),
    ...(endLine != null && { endLine }),
    ...(endColumn != null && { endColumn }),
  }));
}

/** How many connections each line of the text would decide anew. */
export function decided(changes: Change[]): Map<number, { opened: number; closed: number }> {
  const lines = new Map<number, { opened: number; closed: number }>();
  for (const { change, pair, after } of changes) {
    const told = new Set(after.by.flatMap((by) => by.origins).filter(({ file }) => file === GIVEN));
    for (const line of new Set([...told].map(({ line }) => line))) {
      if (line === undefined) continue;
      const sum = lines.get(line) ?? { opened: 0, closed: 0 };
      sum[change] += pair.connections;
      lines.set(line, sum);
    }
  }
  return lines;
}

/** The same behind the lines. */
export function notes(changes: Change[], say: (change: Change['change'], count: number) => string): YamlNote[] {
  return [...decided(changes)].flatMap(([line, sum]) =>
    (['opened', 'closed'] as const)
      .filter((change) => sum[change] > 0)
      .map((change) => ({
        line,
        text: say(change, sum[change]),
        tone: (change === 'opened' ? 'success' : 'danger') as Tone,
      })),
  );
}
