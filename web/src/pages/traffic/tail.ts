import type { Connection } from '../../api/client';
import { fold } from './fold';
import { Ring } from './ring';
import type { Item, Rows } from './rows';

/** Rows that the tail keeps; older ones leave it. They are some 30 MB then. */
export const BOUND = 20_000;

interface Row {
  item: Item;
  /** The updates that are in it. */
  seqs: Set<number>;
}

/** What was counted since the tail began. */
export interface Told {
  /** Updates that came, without those that came twice. */
  received: number;
  /** Updates that came again, and were not counted again. */
  repeated: number;
  /** Connections, each once. */
  connections: number;
  /** Updates that were lost on the way; as many at least, if `unknown`. */
  lost: number;
  unknown: boolean;
  /** Rows that made room for younger ones. */
  left: number;
}

/**
 * Connections as they come, the youngest first. Updates of one connection are one row, which stays where it is;
 * one whose row has left begins a row of its own again.
 */
export class Tail {
  private readonly ring: Ring<Row>;
  private readonly numbers = new Map<string, number>();
  private readonly shared = new Map<string, unknown>();
  private told: Told = { received: 0, repeated: 0, connections: 0, lost: 0, unknown: false, left: 0 };

  constructor(bound = BOUND) {
    this.ring = new Ring(bound);
  }

  get bound(): number {
    return this.ring.bound;
  }

  counts(): Told {
    return { ...this.told };
  }

  take(update: Connection) {
    const number = this.numbers.get(update.id);
    const known = number === undefined ? undefined : this.ring.at(number);
    if (number === undefined || known?.item.kind !== 'connection') {
      this.told.received++;
      this.told.connections++;
      this.numbers.set(update.id, this.ring.total);
      this.put({ item: { kind: 'connection', connection: this.share(update) }, seqs: new Set([update.seq]) });
      return;
    }
    if (known.seqs.has(update.seq)) {
      this.told.repeated++;
      return;
    }
    this.told.received++;
    known.seqs.add(update.seq);
    known.item = { kind: 'connection', connection: fold(known.item.connection, this.share(update)) };
  }

  /** Updates that will not come: null where nobody knows how many. */
  lose(updates: number | null) {
    this.told.lost += updates ?? 0;
    this.told.unknown ||= updates === null;
    this.put({ item: { kind: 'lost', key: `lost ${this.ring.total}`, updates }, seqs: new Set() });
  }

  /** The rows that are here now. */
  rows(): Rows {
    const { ring, numbers } = this;
    const { total, length } = ring;
    return {
      length,
      at: (index) => ring.at(total - 1 - index)?.item,
      indexOf: (id) => {
        const number = numbers.get(id);
        return number === undefined || number < total - length || number >= total ? -1 : total - 1 - number;
      },
    };
  }

  private put(row: Row) {
    const gone = this.ring.push(row);
    if (!gone) return;
    this.told.left++;
    if (gone.item.kind !== 'connection') return;
    const { id } = gone.item.connection;
    const number = this.numbers.get(id);
    if (number !== undefined && number < this.ring.total - this.ring.length) this.numbers.delete(id);
  }

  /** Rows say the same of policies again and again: such parts are there once. */
  private share(connection: Connection): Connection {
    for (const half of [connection.egress, connection.ingress, ...(connection.changes ?? [])]) {
      if (!half) continue;
      if (half.acl) half.acl = this.once(half.acl);
      if (half.owner) half.owner = this.once(half.owner);
      half.message = this.once(half.message);
    }
    connection.message = this.once(connection.message);
    return connection;
  }

  private once<T>(value: T): T {
    const key = typeof value === 'string' ? value : JSON.stringify(value);
    const known = this.shared.get(key);
    if (known !== undefined) return known as T;
    if (this.shared.size >= this.bound) this.shared.clear();
    this.shared.set(key, value);
    return value;
  }
}
