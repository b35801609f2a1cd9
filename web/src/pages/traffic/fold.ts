import type { Connection, End, Half, Verdict } from '../../api/client';
import { add } from '../../parts/counts';

/** As crates/types/src/acl.rs ranks verdicts. */
const SEVERITY: Record<Verdict, number> = { unknown: 0, delegated: 1, allowed: 2, rejected: 3, dropped: 4 };
const CHANGES = 16;

type Change = NonNullable<Connection['changes']>[number];

/**
 * Two updates of one connection as one, in any order and grouping: crates/types/src/connection.rs. Each must come here
 * once only, since counts add up.
 */
export function fold(known: Connection, update: Connection): Connection {
  const egress = explains(known.egress, update.egress);
  const ingress = explains(known.ingress, update.ingress);
  const changes = merge(known.changes, update.changes);
  const flags = [...new Set([...split(known.tcp_flags), ...split(update.tcp_flags)])];
  const service = known.service ?? update.service;
  const network = known.network ?? update.network;
  const icmp = known.icmp ?? update.icmp;
  return {
    ...known,
    seq: Math.min(known.seq, update.seq),
    start: known.start < update.start ? known.start : update.start,
    end: known.end > update.end ? known.end : update.end,
    verdict: SEVERITY[update.verdict] > SEVERITY[known.verdict] ? update.verdict : known.verdict,
    src: known.src.kind === undefined || known.src.kind === 'external' ? better(update.src, known.src) : known.src,
    dst: answers(known, update),
    counts: add(known.counts, update.counts),
    message: sentence(egress, ingress),
    ...(egress && { egress }),
    ...(ingress && { ingress }),
    ...(changes.length > 0 && { changes }),
    ...(flags.length > 0 && { tcp_flags: FLAGS.filter((flag) => flags.includes(flag)).join(',') }),
    ...(service && { service }),
    ...(network !== undefined && { network }),
    ...(icmp && { icmp }),
  };
}

const FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];
const split = (flags: string | undefined) => (flags ? flags.split(',') : []);

/** The worse, then the earlier; of equal ones always the same. */
function explains(one: Half | undefined, other: Half | undefined): Half | undefined {
  if (!one || !other) return one ?? other;
  return (rank(one, other) || compare(JSON.stringify(other), JSON.stringify(one))) >= 0 ? one : other;
}

function rank(one: Half, other: Half): number {
  return SEVERITY[one.verdict] - SEVERITY[other.verdict] || compare(other.since, one.since);
}

function sentence(egress: Half | undefined, ingress: Half | undefined): string {
  if (egress && ingress) return (rank(egress, ingress) >= 0 ? egress : ingress).message;
  return (egress ?? ingress)?.message ?? '';
}

const better = (one: End, other: End) => (one.kind !== undefined && one.kind !== 'external' ? one : other);

/** The backend goes before the service's own address. */
function answers(known: Connection, update: Connection): End {
  const isService = ({ dst, service }: Connection) =>
    service !== undefined && service.ip === dst.ip && (service.port === undefined || service.port === dst.port);
  if (isService(known) !== isService(update)) return isService(known) ? update.dst : known.dst;
  return better(known.dst, update.dst);
}

function merge(one: Change[] = [], other: Change[] = []): Change[] {
  const found = new Map<string, Change>();
  for (const change of [...one, ...other]) {
    const { since, ...ruling } = change;
    const key = JSON.stringify(ruling);
    const known = found.get(key);
    if (!known || since < known.since) found.set(key, change);
  }
  return [...found.values()].sort((a, b) => compare(a.since, b.since) || compare(a.half, b.half)).slice(0, CHANGES);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
