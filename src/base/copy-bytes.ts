/**
 * Copies `source[start..end)` to `target` at `offset`. Short ranges go byte by byte: making a view or crossing into the
 * runtime costs more than that up to about a hundred bytes.
 */
export function copyBytes(source: Buffer, start: number, end: number, target: Buffer, offset: number): void {
  if (end - start <= 96) {
    for (let index = start; index < end; index++) target[offset++] = source[index]!;
  } else source.copy(target, offset, start, end);
}
