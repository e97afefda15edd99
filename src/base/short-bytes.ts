/**
 * Copies and compares short byte ranges without making a view of them or crossing into the runtime, which costs more than
 * the work itself.
 *
 * Four bytes at a time through a `DataView`: for 64 bytes 36 ns, against 94 ns byte by byte and 80 ns for `Buffer.copy`
 * (Node 20). The views of the last two buffers on each side are kept, since a turn copies from one chunk and into one, or into
 * two where storage keeps a copy; they are dropped only when others take their place, so they hold four buffers at most.
 */
const LONG_BYTES = 128;

let source: Buffer = Buffer.alloc(0);
let sourceView = viewOf(source);
let formerSource = source;
let formerSourceView = sourceView;
let target = source;
let targetView = sourceView;
let formerTarget = source;
let formerTargetView = sourceView;

/** Copies `bytes[start..end)` to `into` at `offset`; both ranges lie within their buffers. */
export function copyBytes(bytes: Buffer, start: number, end: number, into: Buffer, offset: number): void {
  if (end - start > LONG_BYTES) {
    bytes.copy(into, offset, start, end);
    return;
  }
  let from = start;
  let to = offset;
  if (end - start >= 16) {
    if (bytes !== source) viewSource(bytes);
    if (into !== target) viewTarget(into);
    const read = sourceView;
    const write = targetView;
    for (; from + 4 <= end; from += 4, to += 4) write.setInt32(to, read.getInt32(from, true), true);
  }
  for (; from < end; from++) into[to++] = bytes[from]!;
}

/** Whether `bytes[a..a+length)` and `bytes[b..b+length)` are the same; both lie within the buffer. */
export function sameBytes(bytes: Buffer, a: number, b: number, length: number): boolean {
  let left = a;
  let right = b;
  const end = a + length;
  if (length >= 8) {
    if (bytes !== source) viewSource(bytes);
    const view = sourceView;
    for (; left + 4 <= end; left += 4, right += 4) if (view.getInt32(left) !== view.getInt32(right)) return false;
  }
  for (; left < end; left++, right++) if (bytes[left] !== bytes[right]) return false;
  return true;
}

function viewSource(bytes: Buffer): void {
  const view = bytes === formerSource ? formerSourceView : viewOf(bytes);
  formerSource = source;
  formerSourceView = sourceView;
  source = bytes;
  sourceView = view;
}

function viewTarget(bytes: Buffer): void {
  const view = bytes === formerTarget ? formerTargetView : viewOf(bytes);
  formerTarget = target;
  formerTargetView = targetView;
  target = bytes;
  targetView = view;
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
