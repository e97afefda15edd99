/**
 * What must hold for any bytes whatever when they are decoded: only `ProtocolFailure` is thrown, it says which requirement
 * was broken and with which reason code, and the readers of the same packet agree on whether it is one.
 */
import assert from 'node:assert/strict';
import {
  decodeBody,
  isValidTopicName,
  isValidUtf8,
  type Packet,
  PacketReader,
  PacketType,
  ProtocolFailure,
  type ProtocolVersion,
  PublishView,
  type Role,
} from './index.js';

export class DecoderFuzz {
  decoded = 0;
  refused = 0;
  /** What the last packet was refused for; undefined when it was decoded. */
  failure: ProtocolFailure | undefined;
  /** Likewise by `PublishView`, when the packet was a PUBLISH to a server. */
  viewFailure: ProtocolFailure | undefined;
  private readonly view = new PublishView();
  private reader: PacketReader;

  constructor(
    private readonly version: ProtocolVersion,
    private readonly packetBytesMax: number,
  ) {
    this.reader = this.newReader();
  }

  /** Decodes the body `bytes[start..end)` as a packet that a peer in `role` gets. */
  body(header: number, bytes: Buffer, start: number, end: number, role: Role): Packet | undefined {
    this.failure = undefined;
    this.viewFailure = undefined;
    let packet: Packet | undefined;
    try {
      packet = decodeBody(header, bytes, start, end, this.version, role);
      this.decoded++;
    } catch (error) {
      this.failure = checkFailure(error);
      this.refused++;
    }
    if (role === 'server' && header >> 4 === PacketType.Publish) this.compareWithView(header, bytes, start, end);
    return packet;
  }

  /** Feeds `bytes[0..length)`, cut at `cut`, to the reader of a client, which goes on until it fails. */
  stream(bytes: Buffer, length: number, cut: number): void {
    try {
      this.reader.read(bytes.subarray(0, cut), ignore);
      this.reader.read(bytes.subarray(cut, length), ignore);
    } catch (error) {
      checkFailure(error);
      this.reader = this.newReader();
    }
  }

  private newReader(): PacketReader {
    const reader = new PacketReader('client', this.packetBytesMax);
    reader.version = this.version;
    return reader;
  }

  private compareWithView(header: number, bytes: Buffer, start: number, end: number): void {
    const view = this.view;
    const { version } = this;
    try {
      view.read(header, bytes, start, end, version);
    } catch (error) {
      this.viewFailure = checkFailure(error);
    }
    const { viewFailure } = this;
    if (viewFailure === undefined) {
      assert.ok(view.topicStart <= view.topicEnd && view.topicEnd <= view.propertiesStart);
      assert.ok(view.propertiesStart <= view.propertiesEnd && view.propertiesEnd <= view.payloadStart);
      assert.ok(view.payloadStart <= view.payloadEnd && view.payloadEnd === end);
    }
    if (version === 3 && (header & 0x0e) === 0x08) return;
    const named = viewFailure === undefined && view.topicEnd > view.topicStart;
    const nameHolds =
      !named ||
      (isValidUtf8(bytes, view.topicStart, view.topicEnd) &&
        isValidTopicName(bytes.toString('utf8', view.topicStart, view.topicEnd)));
    assert.equal(
      viewFailure === undefined && nameHolds,
      this.failure === undefined,
      `PublishView and decodeBody disagree: ${viewFailure?.message ?? 'taken'} / ${this.failure?.message ?? 'taken'}`,
    );
  }
}

const ignore = (): void => {};

/** Anything but a complete `ProtocolFailure` goes on up. */
export function checkFailure(error: unknown): ProtocolFailure {
  if (!(error instanceof ProtocolFailure)) throw error;
  assert.ok(error.reasonCode >= 0x80 && error.reasonCode <= 0xa2, `reason code ${error.reasonCode}`);
  assert.notEqual(error.requirement, '', error.message);
  assert.notEqual(error.field, '', error.message);
  return error;
}
