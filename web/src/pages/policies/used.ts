import type { Owner, Schemas } from '../../api/client';
import { policyRef } from '../../parts/ends';

export type UsedRule = Schemas['Listing_UsedRule']['items'][number];

/** How often something decided. */
export interface Use {
  connections: number;
  packets: number;
  dropped: number;
  last?: string;
}

/** A rule of a policy, with all ACLs that stand for it. */
export interface Rule extends Use {
  /** `Ingress:0`, or `Ingress:defaultDeny` where it has no number. */
  key: string;
  direction?: string;
  index?: number;
  action: string;
  message?: string;
  /** False where it is gone. */
  inForce: boolean;
  sampled: boolean;
}

/** A policy and its rules. */
export interface Policy extends Use {
  ref: string;
  owner: Owner;
  rules: Rule[];
  inForce: boolean;
  sampled: boolean;
}

/** The owner of a rule, as connections have it. */
export const ownerOf = (rule: UsedRule) => rule.owner as unknown as Owner;

/** A rule in addresses, also one without a number. */
export function ruleKey({ direction, rule }: Owner): string {
  const which = rule?.index ?? rule?.type;
  return which === undefined ? (direction ?? '') : `${direction}:${which}`;
}

/** Rules by policy, in order; ACLs of the same rule (for each protocol and IP block one) together. */
export function policies(items: UsedRule[]): Policy[] {
  const all = new Map<string, Policy>();
  for (const item of items) {
    const owner = ownerOf(item);
    const ref = policyRef(owner);
    const inForce = item.zones.length > 0;
    const known = all.get(ref) ?? { ref, owner, rules: [], inForce: false, sampled: true, ...NOTHING };
    const key = ruleKey(owner);
    const use = amountOf(item);
    const rule = known.rules.find((rule) => rule.key === key && rule.action === item.action);
    if (rule) {
      Object.assign(rule, sum(rule, use));
      rule.sampled &&= item.sampled;
      rule.inForce ||= inForce;
    } else {
      known.rules.push({
        key,
        direction: owner.direction,
        index: owner.rule?.index,
        action: item.action,
        message: item.message ?? undefined,
        inForce,
        sampled: item.sampled,
        ...use,
      });
    }
    Object.assign(known, sum(known, use));
    known.sampled &&= item.sampled;
    known.inForce ||= inForce;
    all.set(ref, known);
  }
  return [...all.values()];
}

const NOTHING: Use = { connections: 0, packets: 0, dropped: 0 };

function amountOf({ connections, packets, dropped_packets: dropped, last }: UsedRule): Use {
  return { connections, packets, dropped, ...(last && { last }) };
}

function sum(left: Use, right: Use): Use {
  const last = [left.last, right.last]
    .filter((at) => at !== undefined)
    .sort()
    .at(-1);
  return {
    connections: left.connections + right.connections,
    packets: left.packets + right.packets,
    dropped: left.dropped + right.dropped,
    ...(last && { last }),
  };
}

/** What default deny of a namespace dropped, in the directions in which a policy isolates. */
export function defaultDeny(all: Policy[], namespace: string, directions: string[]): Rule[] {
  const policy = all.find(({ ref }) => ref === `NetpolNamespace/${namespace}/`);
  const keys = directions.map((direction) => `${direction}:defaultDeny`);
  return (policy?.rules ?? []).filter(({ key }) => keys.includes(key));
}

export const ORDERS = ['name', 'connections', 'dropped', 'last'] as const;
export type Order = (typeof ORDERS)[number];

/** Policies as they are shown. */
export function listed(all: Policy[], find: string, unused: boolean, order: Order): Policy[] {
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = all.filter(
    ({ ref, rules }) =>
      words.every((word) => ref.toLowerCase().includes(word)) && (!unused || rules.some((rule) => isUnused(rule))),
  );
  const by: Record<Order, (a: Policy, b: Policy) => number> = {
    name: (a, b) => a.ref.localeCompare(b.ref),
    connections: (a, b) => b.connections - a.connections,
    dropped: (a, b) => b.dropped - a.dropped,
    last: (a, b) => (b.last ?? '').localeCompare(a.last ?? ''),
  };
  return shown.sort((a, b) => by[order](a, b) || by.name(a, b));
}

/** A rule in force that decided nothing, where that is not what it is for: ARP is never seen. */
export function isUnused({ inForce, connections, key }: Rule): boolean {
  return inForce && connections === 0 && !key.endsWith(':arpAllow');
}

/** What silence of a rule says, by the share of new packets that is sampled. */
export type Silence = 'sure' | 'some' | 'nothing';

export function silence(sampled: boolean, share: number | undefined): Silence {
  if (!sampled || share === 0) return 'nothing';
  return share === undefined || share >= 1 ? 'sure' : 'some';
}
