/** How a line stands out. */
export type Tone = 'info' | 'success' | 'warning' | 'danger' | 'subtle';

/** Lines that stand out. */
export interface YamlMark {
  /** Counted from `firstLine`. */
  from: number;
  /** The last of them; `from` if it is not given. */
  to?: number;
  tone: Tone;
}

/** What is said behind a line. */
export interface YamlNote {
  line: number;
  text: string;
  tone?: Tone;
  /** More of it, when pointed at. */
  title?: string;
}

/** What is wrong with a text, and where. */
export interface YamlProblem {
  /** Counted from 1; a problem of the text as a whole has none. */
  line?: number;
  column?: number;
  endLine?: number;
  /** The first column that is fine again. */
  endColumn?: number;
  severity: 'error' | 'warning' | 'info';
  message: string;
}
