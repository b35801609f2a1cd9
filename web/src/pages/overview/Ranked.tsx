import type { ReactNode } from 'react';

export interface Row {
  key: string;
  /** Decides how long its line is. */
  count: number;
  name: ReactNode;
  facts: ReactNode;
}

/** Things by how many, each with a line as long as its share of the greatest. */
export function Ranked({ rows }: { rows: Row[] }) {
  const most = Math.max(1, ...rows.map(({ count }) => count));
  return (
    <ol className="nv-ranked">
      {rows.map(({ key, count, name, facts }) => (
        <li key={key}>
          <span className="nv-ranked-name">{name}</span>
          <span className="nv-ranked-facts">{facts}</span>
          <span className="nv-ranked-line" style={{ width: `${(100 * count) / most}%` }} aria-hidden />
        </li>
      ))}
    </ol>
  );
}
