import type { Schemas } from '../../api/client';

type Parts = Schemas['Explanation']['$defs'];

export type Explanation = Omit<Schemas['Explanation'], '$defs'>;
export type Case = Parts['case'];
export type Party = Parts['party'];
export type Way = Parts['way'];
export type Station = Parts['station'];
export type Ruling = Parts['ruling'];
export type Source = Parts['source'];
export type Near = Parts['near'];
export type Fix = Parts['fix'];
export type FixPart = Fix['parts'][number];
export type Step = Parts['step'];
