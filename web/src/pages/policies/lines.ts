import type { Schemas } from '../../api/client';
import type { YamlNote } from '../../parts/Yaml';
import type { Policy, Rule } from './used';

type Written = Schemas['Written'];

/** What is said behind the line of each rule. */
export function ruleNotes(
  written: Written,
  used: Policy | undefined,
  say: (rules: Rule[]) => Omit<YamlNote, 'line'>,
): YamlNote[] {
  return written.rules.map(({ direction, index, line }) => {
    const rules = used?.rules.filter((rule) => rule.direction === direction && rule.index === index) ?? [];
    return { line, ...say(rules) };
  });
}
