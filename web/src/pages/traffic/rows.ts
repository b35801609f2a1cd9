import type { Connection } from '../../api/client';

/** What stands in a line of the table. */
export type Item =
  | { kind: 'connection'; connection: Connection }
  /** Updates that never came here; null where nobody knows how many. */
  | { kind: 'lost'; key: string; updates: number | null };

/** Lines of a table, whether they were asked for or came by themselves. */
export interface Rows {
  length: number;
  at: (index: number) => Item | undefined;
  /** -1 where it is not there. */
  indexOf: (id: string) => number;
}

export function listed(connections: Connection[]): Rows {
  return {
    length: connections.length,
    at: (index) => {
      const connection = connections[index];
      return connection && { kind: 'connection', connection };
    },
    indexOf: (id) => connections.findIndex((connection) => connection.id === id),
  };
}

export const keyOf = (item: Item | undefined) => (item?.kind === 'connection' ? item.connection.id : (item?.key ?? ''));
