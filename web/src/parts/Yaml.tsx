import { lazy, Suspense } from 'react';
import type { CodeYamlProps } from './yaml/CodeYaml';

export type { YamlMark, YamlNote, YamlProblem, Tone } from './yaml/types';

const CodeYaml = lazy(() => import('./yaml/CodeYaml'));

/**
 * YAML with lines that stand out and something said behind them; with `onChange` an editor that shows what is wrong
 * in place. As plain text until the editor is there.
 */
export function Yaml(props: CodeYamlProps) {
  return (
    <Suspense fallback={<pre className="nv-yaml-plain">{props.text}</pre>}>
      <CodeYaml {...props} />
    </Suspense>
  );
}
