/** States an invariant of our own code. A failure is a bug: in a connection's state it ends that connection. */
export function assert(condition: unknown, invariant: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${invariant}`);
}
