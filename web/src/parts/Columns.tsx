import { Th, Thead, Tr } from '@patternfly/react-table';

/** The head of a plain table: a title for each column. */
export function Columns({ titles }: { titles: string[] }) {
  return (
    <Thead>
      <Tr>
        {titles.map((title) => (
          <Th key={title} modifier="wrap">
            {title}
          </Th>
        ))}
      </Tr>
    </Thead>
  );
}
