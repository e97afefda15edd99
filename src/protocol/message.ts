/**
 * An Application Message on its way: from the chunk it arrived in to whoever sends or keeps it.
 *
 * Its bytes lie in `body`:
 *
 *   topicStart      topicEnd      propertiesStart   propertiesEnd   payloadStart      bodyEnd
 *   | topic name, UTF-8 | ······· | properties      | ············· | payload         |
 *
 * `properties` are the ones forwarded unaltered, encoded as in 5.0 without their length; Message Expiry Interval lives in
 * `expiresAtMs`, a Topic Alias never gets this far.
 *
 * A *borrowed* message points into a chunk that is good only for the call it is handed to; it is one reused object. Whoever
 * wants to keep it takes `keep()`: bytes of its own in a shared slab (without gaps), made once for all who ask. A message
 * that is not borrowed never changes.
 */
import { copyBytes } from '../base/index.js';
import { PacketType, type Properties, type QoS, type UserProperty } from './packet.js';
import { decodeProperties, encodePublishProperties } from './properties.js';
import { copyForwardedProperties, type PublishView } from './publish-view.js';
import {
  readVariableByteInteger,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from './variable-byte-integer.js';

const SLAB_BYTES = 16384;
/** Bodies above this get a buffer of their own, so that one small survivor holds little of a slab's neighbours. */
const OWN_BUFFER_BYTES = 4096;

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

/** Who published a message, as far as its rights count later: kept with a retained one where its source is to be checked. */
export interface MessageSource {
  readonly clientId: string;
  readonly username: string | undefined;
  /** Name of the listener it came by. */
  readonly listener: string;
}

export interface NewMessage {
  topicName: string;
  payload: Uint8Array | string;
  qos?: QoS;
  retain?: boolean;
  /** The ones a PUBLISH may carry onward; a message expiry interval counts from now. */
  properties?: Properties | undefined;
  /** Client identifier of the publisher, for No Local; undefined for the broker itself. */
  publisherId?: string | undefined;
  source?: MessageSource | undefined;
}

/** How the messages of a topic are to be kept, by the configuration's rules on topic filters. */
export interface Handling {
  /** 0 to 63; what is higher overtakes what is lower in the queue of a session */
  readonly priority: number;
  /** What has to have happened before it is acknowledged: nothing, handed to the operating system, on the disk. */
  readonly durability: 'memory' | 'buffered' | 'sync';
}

/** Of messages for which no rule says otherwise. */
export const PRIORITY_DEFAULT = 16;
export const IN_MEMORY: Handling = { priority: PRIORITY_DEFAULT, durability: 'memory' };

export class Message {
  handling: Handling = IN_MEMORY;
  /** How many subscribers and groups it is handed to. */
  receivers = 1;
  /** Under which name storage has its bytes for several queues; empty when it has not. */
  storedBody = '';
  /**
   * Of a borrowed message whose bytes lie as in its QoS 1 or 2 PUBLISH: whether in the form of 5.0 (5) or of 3.x (3); else 0.
   * The Variable Header begins two bytes before `topicStart`, the Packet Identifier stands at `topicEnd`.
   */
  wireForm: 0 | 3 | 5 = 0;
  /** Of a retained message whose source is to be checked; undefined where nobody is. */
  source: MessageSource | undefined;
  private kept: Message | undefined;

  constructor(
    public topicName: string,
    public qos: QoS,
    public retain: boolean,
    public body: Buffer,
    public topicStart: number,
    public topicEnd: number,
    public propertiesStart: number,
    public propertiesEnd: number,
    public payloadStart: number,
    public bodyEnd: number,
    /** milliseconds since the Unix epoch; 0 never */
    public expiresAtMs: number,
    public publisherId: string | undefined,
    private readonly borrowed: boolean,
  ) {}

  /** Bytes of topic name, properties and payload: what queue limits count. */
  get bytes(): number {
    return (
      this.topicEnd - this.topicStart + this.propertiesEnd - this.propertiesStart + this.bodyEnd - this.payloadStart
    );
  }

  /** A view; must not be changed. */
  get payload(): Buffer {
    return this.body.subarray(this.payloadStart, this.bodyEnd);
  }

  /** The forwarded properties, decoded; undefined when there are none. */
  get properties(): Properties | undefined {
    const length = this.propertiesEnd - this.propertiesStart;
    if (length === 0) return undefined;
    const framed = Buffer.allocUnsafe(length + 4);
    const start = writeVariableByteInteger(framed, 0, length);
    this.body.copy(framed, start, this.propertiesStart, this.propertiesEnd);
    return decodeProperties(framed, 0, start + length, PacketType.Publish).properties;
  }

  get userProperties(): readonly UserProperty[] {
    return this.properties?.userProperties ?? [];
  }

  isExpired(nowMs: number): boolean {
    return this.expiresAtMs !== 0 && nowMs >= this.expiresAtMs;
  }

  /** Message Expiry Interval to forward: what is left, in seconds [MQTT-3.3.2-6]. Only when `expiresAtMs` is set. */
  remainingSeconds(nowMs: number): number {
    return Math.max(0, Math.ceil((this.expiresAtMs - nowMs) / 1000));
  }

  /** This message for as long as one likes: itself, or the copy of a borrowed one. */
  keep(): Message {
    if (!this.borrowed) return this;
    if (this.kept === undefined) {
      const start = reserve(this.bytes);
      this.kept = this.copyTo(reserved, start);
    }
    return this.kept;
  }

  /** The same message in a buffer of its own, for keeping long: it holds no slab. */
  compact(): Message {
    if (!this.borrowed && this.topicStart === 0 && this.bodyEnd === this.body.length) return this;
    return this.copy();
  }

  /** A message of its own with the same bytes, which storage does not know. */
  copy(): Message {
    return this.copyTo(Buffer.allocUnsafeSlow(this.bytes), 0);
  }

  private copyTo(body: Buffer, start: number): Message {
    const topicEnd = start + this.topicEnd - this.topicStart;
    const propertiesEnd = topicEnd + this.propertiesEnd - this.propertiesStart;
    const bodyEnd = propertiesEnd + this.bodyEnd - this.payloadStart;
    copyBytes(this.body, this.topicStart, this.topicEnd, body, start);
    copyBytes(this.body, this.propertiesStart, this.propertiesEnd, body, topicEnd);
    copyBytes(this.body, this.payloadStart, this.bodyEnd, body, propertiesEnd);
    const copy = new Message(
      this.topicName,
      this.qos,
      this.retain,
      body,
      start,
      topicEnd,
      topicEnd,
      propertiesEnd,
      propertiesEnd,
      bodyEnd,
      this.expiresAtMs,
      this.publisherId,
      false,
    );
    copy.handling = this.handling;
    copy.source = this.source;
    return copy;
  }

  /**
   * The PUBLISH of `view` as a borrowed message, good until the next call. Where an alias stands for the topic name or
   * properties are not forwarded as they stand, it is copied at once. `nowMs` is read only when the message expires.
   */
  static borrow(
    view: PublishView,
    chunk: Buffer,
    topicName: string,
    publisherId: string | undefined,
    nowMs: () => number,
  ): Message {
    if (view.topicStart === view.topicEnd || view.propertiesMixed)
      return Message.fromView(view, chunk, topicName, publisherId, nowMs);
    const message = scratch;
    message.kept = undefined;
    message.storedBody = '';
    message.source = undefined;
    message.wireForm = view.qos === 0 ? 0 : view.version5 ? 5 : 3;
    message.topicName = topicName;
    message.qos = view.qos;
    message.retain = view.retain;
    message.body = chunk;
    message.topicStart = view.topicStart;
    message.topicEnd = view.topicEnd;
    message.propertiesStart = view.propertiesStart;
    message.propertiesEnd = view.propertiesEnd;
    message.payloadStart = view.payloadStart;
    message.bodyEnd = view.payloadEnd;
    message.publisherId = publisherId;
    return message;
  }

  /** Makes a message of its own of a PUBLISH in `chunk`. */
  static fromView(
    view: PublishView,
    chunk: Buffer,
    topicName: string,
    publisherId: string | undefined,
    nowMs: () => number,
  ): Message {
    const aliased = view.topicStart === view.topicEnd;
    const topicBytes = aliased ? Buffer.byteLength(topicName) : view.topicEnd - view.topicStart;
    const most = topicBytes + (view.propertiesEnd - view.propertiesStart) + (view.payloadEnd - view.payloadStart);
    const start = reserve(most);
    const body = reserved;
    let at = start + topicBytes;
    if (aliased) body.write(topicName, start, 'utf8');
    else copyBytes(chunk, view.topicStart, view.topicEnd, body, start);
    const topicEnd = at;
    if (view.propertiesMixed) at = copyForwardedProperties(chunk, view.propertiesStart, view.propertiesEnd, body, at);
    else if (view.propertiesEnd > view.propertiesStart) {
      chunk.copy(body, at, view.propertiesStart, view.propertiesEnd);
      at += view.propertiesEnd - view.propertiesStart;
    }
    const propertiesEnd = at;
    copyBytes(chunk, view.payloadStart, view.payloadEnd, body, at);
    at += view.payloadEnd - view.payloadStart;
    const expiry = view.messageExpiryInterval;
    return new Message(
      topicName,
      view.qos,
      view.retain,
      body,
      start,
      topicEnd,
      topicEnd,
      propertiesEnd,
      propertiesEnd,
      at,
      expiry < 0 ? 0 : nowMs() + expiry * 1000,
      publisherId,
      false,
    );
  }

  /** Makes a message from values: wills, local clients, retained messages read back. */
  static create(values: NewMessage, nowMs: number): Message {
    const payload = typeof values.payload === 'string' ? Buffer.from(values.payload) : values.payload;
    const properties = values.properties ? encodeForwarded(values.properties) : undefined;
    const topicBytes = Buffer.byteLength(values.topicName);
    const start = reserve(topicBytes + (properties?.length ?? 0) + payload.length);
    const body = reserved;
    body.write(values.topicName, start, 'utf8');
    const topicEnd = start + topicBytes;
    if (properties) body.set(properties, topicEnd);
    const propertiesEnd = topicEnd + (properties?.length ?? 0);
    body.set(payload, propertiesEnd);
    const expiry = values.properties?.messageExpiryInterval;
    const message = new Message(
      values.topicName,
      values.qos ?? 0,
      values.retain ?? false,
      body,
      start,
      topicEnd,
      topicEnd,
      propertiesEnd,
      propertiesEnd,
      propertiesEnd + payload.length,
      expiry === undefined ? 0 : nowMs + expiry * 1000,
      values.publisherId,
      false,
    );
    message.source = values.source;
    return message;
  }
}

/** The properties that travel with a message, encoded without their length. */
function encodeForwarded(properties: Properties): Buffer | undefined {
  const { payloadFormatIndicator, contentType, responseTopic, correlationData, userProperties } = properties;
  const forwarded: Properties = {};
  if (payloadFormatIndicator !== undefined) forwarded.payloadFormatIndicator = payloadFormatIndicator;
  if (contentType !== undefined) forwarded.contentType = contentType;
  if (responseTopic !== undefined) forwarded.responseTopic = responseTopic;
  if (correlationData !== undefined) forwarded.correlationData = correlationData;
  if (userProperties !== undefined && userProperties.length > 0) forwarded.userProperties = userProperties;
  const encoded = encodePublishProperties(forwarded);
  const length = readVariableByteInteger(encoded, 0, encoded.length);
  return length === 0 ? undefined : encoded.subarray(variableByteIntegerLength(length));
}

/** The one borrowed message; its fields are those of the last `borrow`. */
const scratch = new Message('', 0, false, Buffer.alloc(0), 0, 0, 0, 0, 0, 0, 0, undefined, true);

let reserved: Buffer = slab;

/** Finds room for `bytes` and leaves its buffer in `reserved`; returns the offset in it. */
function reserve(bytes: number): number {
  if (bytes > OWN_BUFFER_BYTES) {
    reserved = Buffer.allocUnsafeSlow(bytes);
    return 0;
  }
  if (slabUsed + bytes > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    slabUsed = 0;
  }
  const offset = slabUsed;
  slabUsed += bytes;
  reserved = slab;
  return offset;
}
