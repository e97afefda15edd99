/**
 * An Application Message that outlives the turn it arrived in: queued, in flight, retained, a will.
 *
 * Its bytes lie together in `body`, a part of a shared slab or a buffer of its own:
 *
 *   topicStart          topicEnd      propertiesEnd        bodyEnd
 *   | topic name, UTF-8 | properties  | payload            |
 *
 * `properties` are the ones forwarded unaltered, encoded as in 5.0 without their length; Message Expiry Interval lives in
 * `expiresAtMs`, a Topic Alias never gets this far. Nothing of a message changes once it is made.
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

export interface NewMessage {
  topicName: string;
  payload: Uint8Array | string;
  qos?: QoS;
  retain?: boolean;
  /** The ones a PUBLISH may carry onward; a message expiry interval counts from now. */
  properties?: Properties | undefined;
  /** Client identifier of the publisher, for No Local; undefined for the broker itself. */
  publisherId?: string | undefined;
}

export class Message {
  constructor(
    readonly topicName: string,
    readonly qos: QoS,
    readonly retain: boolean,
    readonly body: Buffer,
    readonly topicStart: number,
    readonly topicEnd: number,
    readonly propertiesEnd: number,
    readonly bodyEnd: number,
    /** milliseconds since the Unix epoch; 0 never */
    readonly expiresAtMs: number,
    readonly publisherId: string | undefined,
  ) {}

  /** Bytes of topic name, properties and payload: what queue limits count. */
  get bytes(): number {
    return this.bodyEnd - this.topicStart;
  }

  /** A view; must not be changed. */
  get payload(): Buffer {
    return this.body.subarray(this.propertiesEnd, this.bodyEnd);
  }

  /** The forwarded properties, decoded; undefined when there are none. */
  get properties(): Properties | undefined {
    if (this.topicEnd === this.propertiesEnd) return undefined;
    const length = this.propertiesEnd - this.topicEnd;
    const framed = Buffer.allocUnsafe(length + 4);
    const start = writeVariableByteInteger(framed, 0, length);
    this.body.copy(framed, start, this.topicEnd, this.propertiesEnd);
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

  /** The same message, with the retain flag or the QoS changed; the body is shared. */
  with(change: { retain?: boolean; qos?: QoS }): Message {
    return new Message(
      this.topicName,
      change.qos ?? this.qos,
      change.retain ?? this.retain,
      this.body,
      this.topicStart,
      this.topicEnd,
      this.propertiesEnd,
      this.bodyEnd,
      this.expiresAtMs,
      this.publisherId,
    );
  }

  /** The same message in a buffer of its own, for keeping long: it holds no slab. */
  compact(): Message {
    if (this.topicStart === 0 && this.bodyEnd === this.body.length) return this;
    const body = Buffer.allocUnsafeSlow(this.bytes);
    this.body.copy(body, 0, this.topicStart, this.bodyEnd);
    const shift = this.topicStart;
    return new Message(
      this.topicName,
      this.qos,
      this.retain,
      body,
      0,
      this.topicEnd - shift,
      this.propertiesEnd - shift,
      this.bodyEnd - shift,
      this.expiresAtMs,
      this.publisherId,
    );
  }

  /**
   * Makes a message of a PUBLISH in `chunk`. When an alias stands for the topic name, its bytes come from `topicName`.
   * `nowMs` is read only when the message expires.
   */
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
      propertiesEnd,
      at,
      expiry < 0 ? 0 : nowMs() + expiry * 1000,
      publisherId,
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
    return new Message(
      values.topicName,
      values.qos ?? 0,
      values.retain ?? false,
      body,
      start,
      topicEnd,
      propertiesEnd,
      propertiesEnd + payload.length,
      expiry === undefined ? 0 : nowMs + expiry * 1000,
      values.publisherId,
    );
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
