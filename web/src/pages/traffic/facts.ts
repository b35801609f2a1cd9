import type { Connection, End, Half } from '../../api/client';
import type { Comparison } from './query';

/** Something that is known, and the field by which queries ask for it. */
export interface Fact {
  /** A key of `fact` in the catalogue. */
  label: string;
  value: string;
  field?: string;
  /** What the query asks for, where that is not what is shown. */
  asked?: string;
  kind?: 'time' | 'code';
}

export interface Facts {
  title: 'source' | 'destination' | 'service' | 'connection';
  facts: Fact[];
}

/** All that is known of a connection but verdicts and counts. */
export function factsOf(connection: Connection): Facts[] {
  const { src, dst, service, protocol, network, icmp, tcp_flags: flags, start, end, id } = connection;
  return [
    { title: 'source' as const, facts: endFacts(src, 'src') },
    { title: 'destination' as const, facts: endFacts(dst, 'dst') },
    {
      title: 'service' as const,
      facts: known([
        service && { label: 'service', value: nameOf(service), field: 'service' },
        service && { label: 'ip', value: service.ip, field: 'service.ip' },
        service && { label: 'port', value: service.port, field: 'service.port' },
      ]),
    },
    {
      title: 'connection' as const,
      facts: known([
        { label: 'protocol', value: protocol, field: 'protocol' },
        icmp && { label: 'icmpType', value: icmp.type, field: 'icmp.type' },
        icmp && { label: 'icmpCode', value: icmp.code, field: 'icmp.code' },
        { label: 'flags', value: flags, field: 'tcp_flags', asked: flags?.toLowerCase().replaceAll(',', '+') },
        { label: 'network', value: network, field: 'network' },
        { label: 'start', value: start, field: 'start', kind: 'time' as const },
        { label: 'end', value: end, field: 'end', kind: 'time' as const },
        { label: 'id', value: id, field: 'id', kind: 'code' as const },
      ]),
    },
  ].filter(({ facts }) => facts.length > 0);
}

function endFacts(end: End, side: 'src' | 'dst'): Fact[] {
  return known([
    { label: 'namespace', value: end.namespace, field: `${side}.namespace` },
    end.pod
      ? {
          label: 'pod',
          value: end.pod,
          field: `${side}.pod`,
          asked: nameOf({ name: end.pod, namespace: end.namespace }),
        }
      : { label: 'name', value: end.name, field: `${side}.name` },
    { label: 'kind', value: end.kind, field: `${side}.kind` },
    { label: 'ip', value: end.ip, field: `${side}.ip` },
    { label: 'port', value: end.port, field: `${side}.port` },
    { label: 'node', value: end.node, field: `${side}.node` },
  ]);
}

/** What is known of a half beyond its sentence. */
export function halfFacts(half: Half, way: 'egress' | 'ingress'): Fact[] {
  const { owner, acl, flow } = half;
  return known([
    {
      label: 'policy',
      value: owner?.name && nameOf({ name: owner.name, namespace: owner.namespace }),
      field: `${way}.policy`,
    },
    { label: 'policyKind', value: owner?.kind, field: `${way}.owner.kind` },
    !owner?.name && { label: 'policyNamespace', value: owner?.namespace, field: `${way}.owner.namespace` },
    { label: 'rule', value: owner?.rule?.index, field: `${way}.rule.index` },
    { label: 'ruleType', value: owner?.rule?.type, field: `${way}.rule.type` },
    { label: 'action', value: half.action, field: `${way}.action` },
    { label: 'tier', value: half.tier, field: `${way}.tier` },
    { label: 'priority', value: acl?.priority, field: `${way}.acl.priority` },
    { label: 'acl', value: acl?.name, field: `${way}.acl.name`, kind: 'code' as const },
    { label: 'match', value: acl?.match, field: `${way}.acl.match`, kind: 'code' as const },
    { label: 'uuid', value: acl?.uuid, field: `${way}.acl.uuid`, kind: 'code' as const },
    { label: 'stage', value: flow?.stage, field: `${way}.flow.stage`, kind: 'code' as const },
    { label: 'match', value: flow?.match, field: `${way}.flow.match`, kind: 'code' as const },
    { label: 'node', value: half.node, field: `${way}.node` },
    { label: 'zone', value: half.zone, field: `${way}.zone` },
    { label: 'since', value: half.since, field: `${way}.since`, kind: 'time' as const },
    { label: 'revision', value: half.revision, field: `${way}.revision` },
    { label: 'evidence', value: half.evidence, field: `${way}.evidence` },
    { label: 'unresolved', value: half.unresolved, field: `${way}.unresolved` },
  ]);
}

/** The comparison that finds what has this too. */
export function comparisonOf({ field = '', value, asked = value }: Fact): Comparison {
  return { field, operator: '=', values: [asked], negated: false };
}

interface Perhaps extends Omit<Fact, 'value'> {
  value: string | number | undefined;
}

function known(facts: (Perhaps | false | undefined)[]): Fact[] {
  return facts.flatMap((fact) =>
    fact && fact.value !== undefined && fact.value !== '' ? [{ ...fact, value: String(fact.value) }] : [],
  );
}

const nameOf = ({ namespace, name }: { namespace?: string | undefined; name: string }) =>
  namespace ? `${namespace}/${name}` : name;
