import type { Schemas } from '../../api/client';
import type { YamlMark } from './types';

/** The lines of a rule that is chosen as `Ingress:0`. */
export function chosenMarks(written: Schemas['Written'], chosen: string): YamlMark[] {
  return written.rules
    .filter(({ direction, index }) => `${direction}:${index}` === chosen)
    .map(({ line, end_line: to }) => ({ from: line, to, tone: 'info' }));
}
