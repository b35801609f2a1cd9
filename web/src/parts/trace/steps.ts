import type { Step } from './types';

/** The steps of a way inside one switch, or between two. */
export interface Leg {
  switch?: string;
  zone?: string;
  steps: Step[];
}

/** Steps by the switch that they are in. */
export function legs(walk: Step[]): Leg[] {
  const all: Leg[] = [];
  for (const step of walk) {
    const last = all.at(-1);
    if (!last || step.step === 'enter') all.push({ switch: step.switch, zone: step.zone, steps: [step] });
    else if (step.step === 'route') all.push({ zone: step.zone, steps: [step] });
    else last.steps.push(step);
  }
  return all;
}

/** Whether a step tells more than that a table let the packet through as it was. */
export function isTelling({ step, acl, changes }: Step): boolean {
  if (step !== 'table') return true;
  return acl !== undefined || (changes ?? []).some((change) => change.meaning !== 'tier');
}
