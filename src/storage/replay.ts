import { OperationKind, type OperationSink } from './log-segment.js';
import type { MemTable } from './memtable.js';

/** Puts what a segment tells into a memtable. */
export function replayInto(memtable: MemTable): OperationSink {
  return (kind, key, value, start, end) => {
    if (kind === OperationKind.Remove) memtable.remove(key);
    else memtable.put(key, value, start, end, kind === OperationKind.PutFresh);
  };
}
