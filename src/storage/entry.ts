/**
 * What storage holds: values by key, ordered by key.
 *
 * A key is a string of bytes, each a code unit from 0 to 255 (`latin1`), of any length; the order of strings is the order of
 * the bytes.
 */
export interface Entry {
  readonly key: string;
  /** Undefined stands for "removed here": it hides the same key in older places. */
  readonly value: Buffer | undefined;
}
