/**
 * An MQTT client for 3.1, 3.1.1 and 5.0: what the command line tools, bridges and tests connect with.
 *
 *   idle --connect()--> connecting --CONNACK--> connected --lost--> waiting --delay--> connecting
 *   connecting --failed--> idle, or waiting when it may try again; disconnect() and destroy() lead to idle from anywhere
 *
 * Owns the life of connections and requests. QoS state is in `outgoing-messages.ts` and `incoming-messages.ts`, the bytes are
 * `connection.ts`'s, the stream comes from `dial.ts`.
 */

import {
  type ConnackPacket,
  type ConnectPacket,
  type DisconnectPacket,
  encodeAcknowledge,
  encodePacket,
  type Packet,
  PacketType,
  type Properties,
  ProtocolFailure,
  type PublishPacket,
  type QoS,
  ReasonCode,
  reasonCodeOf,
  type SubscriptionRequest,
} from '../protocol/index.js';
import { asClientError, ClientError, closingError, describeReason } from './client-error.js';
import type { Authenticator, ClientHandlers, ClientOptions } from './client-options.js';
import { clientDefaults, packetBytesMaxDefault } from './client-options.js';
import { Connection } from './connection.js';
import { describeTarget, dial } from './dial.js';
import { IncomingMessages } from './incoming-messages.js';
import { type OutgoingMessage, OutgoingMessages, type PublishResult } from './outgoing-messages.js';
import { PacketIds } from './packet-ids.js';
import { type AnswerResult, PendingAnswers } from './pending-answers.js';
import { ServerLimits } from './server-limits.js';

export interface PublishOptions {
  qos?: QoS;
  retain?: boolean;
  properties?: Properties;
}

const sent: Promise<PublishResult> = Promise.resolve({ reasonCode: 0 });

export class MqttClient {
  /** As given, or as the server assigned it. */
  clientId: string;
  /** `host:port`, path or URL of the server. */
  readonly address: string;

  private state: 'idle' | 'connecting' | 'connected' | 'waiting' = 'idle';
  private connection: Connection | undefined;
  private limits: ServerLimits;
  private readonly packetIds = new PacketIds();
  private readonly outgoing: OutgoingMessages;
  private readonly incoming: IncomingMessages;
  private readonly answers: PendingAnswers;
  private readonly subscriptions = new Map<
    string,
    { request: SubscriptionRequest; properties: Properties | undefined }
  >();
  private readonly acknowledgeProperties: Record<4 | 5 | 6 | 7, Properties | undefined>;
  private handshake: { resolve(connack: ConnackPacket): void; reject(error: ClientError): void } | undefined;
  private reauthentication: { resolve(): void; reject(error: ClientError): void } | undefined;
  private dialling: AbortController | undefined;
  private reconnectTimer: NodeJS.Timeout | undefined;
  private attempts = 0;
  private whenClosed: (() => void)[] = [];
  private everConnected = false;
  private paused = false;
  /** How often it was ended: what began before an end must not go on behind it. */
  private ends = 0;

  constructor(
    private readonly options: ClientOptions,
    private readonly handlers: ClientHandlers = {},
  ) {
    this.clientId = options.clientId;
    this.address = describeTarget(options.target);
    this.limits = new ServerLimits(this.address, {});
    this.answers = new PendingAnswers(this.packetIds, this.address);
    const { puback, pubrec, pubrel, pubcomp } = options.acknowledgeProperties ?? {};
    this.acknowledgeProperties = { 4: puback, 5: pubrec, 6: pubrel, 7: pubcomp };
    this.outgoing = new OutgoingMessages(
      this.packetIds,
      {
        publish: (message, dup) => this.sendPublish(message, dup),
        release: (packetId, reasonCode) => this.sendAcknowledge(PacketType.Pubrel, packetId, reasonCode),
      },
      options.queueMessagesMax ?? clientDefaults.queueMessagesMax,
    );
    this.incoming = new IncomingMessages(
      (message) => this.handlers.onMessage?.(message),
      (type, packetId, reasonCode, properties) => this.sendAcknowledge(type, packetId, reasonCode, properties),
      {
        topicAliasMaximum: options.properties?.topicAliasMaximum ?? 0,
        receiveMaximum: options.protocolVersion === 5 ? (options.properties?.receiveMaximum ?? 65_535) : 65_535,
        manualAcknowledge: options.manualAcknowledge ?? false,
      },
    );
  }

  get connected(): boolean {
    return this.state === 'connected';
  }

  /** QoS 1 and 2 messages that the server has not acknowledged to the end. */
  get unacknowledgedCount(): number {
    return this.outgoing.count;
  }

  /**
   * Connects. Resolves with CONNACK.
   *
   * Errors  ClientError: CLIENT_DIAL_FAILED, CLIENT_CONNECT_TIMEOUT, CLIENT_CONNECT_REFUSED (with the reason code),
   *         CLIENT_AUTHENTICATION_FAILED, CLIENT_PROTOCOL_FAILURE, CLIENT_CLOSED. With `reconnect.initial` it keeps trying
   *         and fails only when `disconnect` or `destroy` ends it.
   */
  async connect(): Promise<ConnackPacket> {
    if (this.state !== 'idle')
      throw new ClientError('CLIENT_NOT_CONNECTED', `the client for ${this.address} is ${this.state} already`);
    this.attempts = 0;
    const { ends } = this;
    for (;;) {
      try {
        return await this.attempt();
      } catch (error) {
        const failure = asClientError(error, this.address);
        if (this.ends !== ends) throw failure;
        if (this.options.reconnect?.initial !== true) {
          this.becomeIdle(failure);
          throw failure;
        }
        this.handlers.onReconnectFailed?.(failure);
        if (this.ends !== ends) throw this.closed();
        await this.delay();
      }
    }
  }

  /**
   * Publishes one message.
   *
   * Shape   `payload` must not be changed before the promise is settled.
   * Returns at QoS 0 when the connection has room for more; at QoS 1 and 2 when the server has answered. A refusal by the
   *         server is a reason code, not a rejection.
   * Errors  CLIENT_NOT_CONNECTED (QoS 0, or no reconnecting), CLIENT_QUEUE_FULL, CLIENT_NOT_SUPPORTED_BY_SERVER,
   *         CLIENT_CONNECTION_LOST; RangeError for a value that MQTT cannot carry.
   */
  publish(
    topicName: string,
    payload: Uint8Array,
    { qos = 0, retain = false, properties }: PublishOptions = {},
  ): Promise<PublishResult> {
    if (this.state === 'connected') {
      const refusal = this.limits.refusalOf(qos, retain);
      if (refusal !== undefined) return Promise.reject(refusal);
    } else if (qos === 0 || this.options.reconnect === undefined) {
      return Promise.reject(this.notConnected());
    }
    if (qos === 0) {
      const packet: PublishPacket = { type: PacketType.Publish, dup: false, qos, retain, topicName, payload };
      if (properties !== undefined) packet.properties = properties;
      const refusal = this.transmitPublish(packet);
      if (refusal !== undefined) return Promise.reject(refusal);
      const drained = this.connection?.drained();
      return drained === undefined ? sent : drained.then(() => ({ reasonCode: 0 }));
    }
    return new Promise((resolve, reject) => {
      const message: OutgoingMessage = {
        topicName,
        payload,
        qos,
        retain,
        properties,
        packetId: 0,
        state: 'waiting',
        resolve,
        reject,
      };
      if (!this.outgoing.add(message)) {
        reject(new ClientError('CLIENT_QUEUE_FULL', `${this.outgoing.count} messages to ${this.address} wait already`));
      }
    });
  }

  /** Resolves with one reason code for each subscription, refusals included. */
  subscribe(subscriptions: readonly SubscriptionRequest[], properties?: Properties): Promise<AnswerResult> {
    for (const request of subscriptions) this.subscriptions.set(request.topicFilter, { request, properties });
    return this.request(subscriptions.length, (packetId) => ({
      type: PacketType.Subscribe,
      packetId,
      subscriptions: [...subscriptions],
      ...(properties === undefined ? {} : { properties }),
    }));
  }

  unsubscribe(topicFilters: readonly string[], properties?: Properties): Promise<AnswerResult> {
    for (const topicFilter of topicFilters) this.subscriptions.delete(topicFilter);
    return this.request(topicFilters.length, (packetId) => ({
      type: PacketType.Unsubscribe,
      packetId,
      topicFilters: [...topicFilters],
      ...(properties === undefined ? {} : { properties }),
    }));
  }

  /** Runs the authenticator again on the open connection (v5 §4.12.1). Rejects, and the server closes, when it fails. */
  async reauthenticate(): Promise<void> {
    const { connection } = this;
    const { authenticator } = this.options;
    if (this.state !== 'connected' || authenticator === undefined) {
      throw new ClientError('CLIENT_NOT_CONNECTED', `no connection to ${this.address} that could authenticate again`);
    }
    const data = await authenticator.begin();
    if (this.connection !== connection) throw this.notConnected();
    return new Promise((resolve, reject) => {
      this.reauthentication = { resolve, reject };
      this.sendAuth(authenticator, ReasonCode.ReAuthenticate, data);
    });
  }

  /**
   * Says DISCONNECT after everything sent so far, and closes. Resolves when the connection is gone. Messages that are not
   * acknowledged by then are rejected with CLIENT_CLOSED.
   */
  disconnect(reasonCode: number = ReasonCode.NormalDisconnection, properties?: Properties): Promise<void> {
    const { connection } = this;
    const connected = this.state === 'connected';
    const failure = new ClientError('CLIENT_CLOSED', `the client for ${this.address} was disconnected`);
    if (!connected || connection === undefined) {
      this.destroy();
      return Promise.resolve();
    }
    this.sendPacket({ type: PacketType.Disconnect, reasonCode, ...(properties === undefined ? {} : { properties }) });
    const closed = new Promise<void>((resolve) => {
      this.whenClosed.push(resolve);
    });
    this.becomeIdle(failure);
    connection.end();
    return closed;
  }

  /** Closes at once, without a word, as if the network had failed. Nothing connects again. */
  destroy(): void {
    const failure = this.closed();
    const { connection } = this;
    this.dialling?.abort(failure);
    this.becomeIdle(failure);
    connection?.destroy();
  }

  /**
   * Reads no further until `resume`, on this connection and those after it, so that the server feels that messages are not dealt with. Some
   * that have come already are still handed up, and no answer to a request comes meanwhile.
   */
  pause(): void {
    this.paused = true;
    if (this.state === 'connected') this.connection?.pause();
  }

  resume(): void {
    this.paused = false;
    this.connection?.resume();
  }

  // Connecting

  private async attempt(again = false): Promise<ConnackPacket> {
    this.state = 'connecting';
    const { options } = this;
    const timeoutMs = options.connectTimeoutMs ?? clientDefaults.connectTimeoutMs;
    const controller = new AbortController();
    this.dialling = controller;
    const timer = setTimeout(() => {
      controller.abort(new ClientError('CLIENT_CONNECT_TIMEOUT', `no answer from ${this.address} in ${timeoutMs} ms`));
    }, timeoutMs);
    let connection: Connection | undefined;
    try {
      // Before there is a stream: nobody would see to its end meanwhile.
      const data = await options.authenticator?.begin();
      const stream = await dial(options.target, options.protocolVersion, controller.signal);
      if (controller.signal.aborted) {
        stream.destroy();
        throw controller.signal.reason;
      }
      const own: Connection = new Connection(stream, options.protocolVersion, this.packetBytesMax(), {
        onPacket: (packet) => this.receive(packet),
        onClosed: (error) => this.onClosed(own, error),
        onPing: () => this.handlers.onPacket?.('sent', { type: PacketType.Pingreq }),
        onProtocolFailure: (failure) => this.farewell(failure),
      });
      connection = own;
      this.connection = own;
      const answered = new Promise<ConnackPacket>((resolve, reject) => {
        this.handshake = { resolve, reject };
        controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
      });
      this.sendPacket(this.connectPacket(data, again));
      return await answered;
    } catch (error) {
      if (connection !== undefined && this.connection === connection) {
        this.connection = undefined;
        this.handshake = undefined;
      }
      connection?.destroy();
      throw asClientError(error, this.address);
    } finally {
      clearTimeout(timer);
      if (this.dialling === controller) this.dialling = undefined;
    }
  }

  private packetBytesMax(): number {
    return (
      (this.options.protocolVersion === 5 ? this.options.properties?.maximumPacketSize : undefined) ??
      packetBytesMaxDefault
    );
  }

  private connectPacket(authenticationData: Uint8Array | undefined, again: boolean): ConnectPacket {
    const { protocolVersion, cleanStart, keepAlive, username, password, will, authenticator } = this.options;
    const packet: ConnectPacket = {
      type: PacketType.Connect,
      protocolVersion,
      bridge: this.options.bridge ?? false,
      // a session that outlives its connection is what a reconnect is for
      cleanStart: cleanStart && !(again && (this.options.properties?.sessionExpiryInterval ?? 0) > 0),
      keepAlive,
      clientId: this.clientId,
    };
    if (username !== undefined) packet.username = username;
    if (password !== undefined) packet.password = password;
    if (will !== undefined) packet.will = will;
    if (protocolVersion === 5) {
      packet.properties = { ...this.options.properties };
      if (authenticator !== undefined) packet.properties.authenticationMethod = authenticator.method;
      if (authenticationData !== undefined) packet.properties.authenticationData = authenticationData;
    }
    return packet;
  }

  private onConnack(connack: ConnackPacket): void {
    const { handshake, connection } = this;
    if (handshake === undefined || connection === undefined) {
      throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-3.2.0-2', 'the server sent CONNACK twice');
    }
    const { properties } = connack;
    const version = this.options.protocolVersion;
    const reasonCode = version === 5 ? connack.reasonCode : reasonCodeOf(connack.reasonCode);
    if (reasonCode !== ReasonCode.Success) {
      const reason = describeReason(reasonCode, properties?.reasonString);
      handshake.reject(
        new ClientError(
          'CLIENT_CONNECT_REFUSED',
          `${this.address} refused the connection: ${reason}`,
          reasonCode,
          connack,
        ),
      );
      return;
    }
    const { authenticator } = this.options;
    if (authenticator === undefined || properties?.authenticationData === undefined) {
      this.becomeConnected(connection, connack);
      return;
    }
    this.converse(async () => {
      await authenticator.respond(properties.authenticationData, true);
      if (this.connection === connection) this.becomeConnected(connection, connack);
    });
  }

  private becomeConnected(connection: Connection, connack: ConnackPacket): void {
    const { handshake, options } = this;
    const { properties } = connack;
    this.handshake = undefined;
    this.state = 'connected';
    this.attempts = 0;
    const reconnected = this.everConnected;
    this.everConnected = true;
    this.clientId = properties?.assignedClientIdentifier ?? this.clientId;
    this.limits = new ServerLimits(this.address, connack);
    const keepAlive = properties?.serverKeepAlive ?? options.keepAlive; // [MQTT-3.1.2-21]
    connection.keepAlive(keepAlive, options.pingTimeoutMs ?? keepAlive * 1000);
    this.incoming.start(connack.sessionPresent);
    const receiveMaximum = properties?.receiveMaximum ?? 65_535;
    this.outgoing.start(
      connack.sessionPresent,
      Math.min(receiveMaximum, options.inflightMax ?? clientDefaults.inflightMax),
    );
    if (reconnected && !connack.sessionPresent && options.resubscribe !== false) this.resubscribe();
    if (this.paused) connection.pause();
    handshake?.resolve(connack);
    this.handlers.onConnect?.(connack);
  }

  private resubscribe(): void {
    for (const { request, properties } of [...this.subscriptions.values()]) {
      this.subscribe([request], properties).catch(() => {
        // the connection is gone again, and the next one subscribes anew
      });
    }
  }

  // Receiving

  private receive(packet: Packet): void {
    this.handlers.onPacket?.('received', packet);
    if (
      this.state !== 'connected' &&
      packet.type !== PacketType.Connack &&
      packet.type !== PacketType.Auth &&
      packet.type !== PacketType.Disconnect
    ) {
      throw new ProtocolFailure(
        ReasonCode.ProtocolError,
        'MQTT-3.2.0-1',
        `the server sent packet type ${packet.type} before CONNACK`,
      );
    }
    switch (packet.type) {
      case PacketType.Connack:
        this.onConnack(packet);
        break;
      case PacketType.Publish:
        this.incoming.onPublish(packet);
        break;
      case PacketType.Puback:
        this.outgoing.onPuback(packet.packetId, packet.reasonCode, packet.properties);
        break;
      case PacketType.Pubrec:
        this.outgoing.onPubrec(packet.packetId, packet.reasonCode, packet.properties);
        break;
      case PacketType.Pubrel:
        this.incoming.onPubrel(packet.packetId);
        break;
      case PacketType.Pubcomp:
        this.outgoing.onPubcomp(packet.packetId, packet.reasonCode, packet.properties);
        break;
      case PacketType.Suback:
      case PacketType.Unsuback:
        this.answers.onAnswer(packet.packetId, packet.reasonCodes, packet.properties);
        break;
      case PacketType.Disconnect:
        this.onServerDisconnect(packet);
        break;
      case PacketType.Auth:
        this.handlers.onAuth?.(packet);
        this.onAuth(packet.reasonCode, packet.properties);
        break;
    }
  }

  private onServerDisconnect(packet: DisconnectPacket): void {
    this.handlers.onServerDisconnect?.(packet);
    const reason = describeReason(packet.reasonCode, packet.properties?.reasonString);
    const text = `${this.address} disconnected the client: ${reason}`;
    this.connection?.end(new ClientError('CLIENT_SERVER_DISCONNECTED', text, packet.reasonCode));
  }

  private onAuth(reasonCode: number, properties: Properties | undefined): void {
    const { reauthentication, connection } = this;
    const { authenticator } = this.options;
    if (authenticator === undefined || (this.state === 'connected' && reauthentication === undefined)) {
      throw new ProtocolFailure(ReasonCode.ProtocolError, 'MQTT-4.12.0-6', 'the server sent AUTH without being asked');
    }
    if (properties?.authenticationMethod !== undefined && properties.authenticationMethod !== authenticator.method) {
      throw new ProtocolFailure(
        ReasonCode.ProtocolError,
        'MQTT-4.12.0-5',
        'the server changed the Authentication Method',
      );
    }
    const last = reasonCode === ReasonCode.Success;
    this.converse(async () => {
      const data = await authenticator.respond(properties?.authenticationData, last);
      if (this.connection !== connection) return; // the exchange ended with it
      if (!last) this.sendAuth(authenticator, ReasonCode.ContinueAuthentication, data);
      else if (reauthentication !== undefined) {
        this.reauthentication = undefined;
        reauthentication.resolve();
      }
    });
  }

  /** Runs a step of the authenticator; what it throws ends the connection. */
  private converse(step: () => Promise<void>): void {
    const { connection } = this;
    step().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      connection?.destroy(
        new ClientError(
          'CLIENT_AUTHENTICATION_FAILED',
          `authentication with ${this.address} failed: ${reason}`,
          ReasonCode.NotAuthorized,
          error,
        ),
      );
    });
  }

  // Sending

  private sendPacket(packet: Packet): void {
    this.handlers.onPacket?.('sent', packet);
    this.connection?.send(encodePacket(packet, this.options.protocolVersion));
  }

  private sendAuth(authenticator: Authenticator, reasonCode: number, data: Uint8Array | undefined): void {
    const properties: Properties = { authenticationMethod: authenticator.method };
    if (data !== undefined) properties.authenticationData = data;
    this.sendPacket({ type: PacketType.Auth, reasonCode, properties });
  }

  private sendAcknowledge(type: 4 | 5 | 6 | 7, packetId: number, reasonCode: number, own?: Properties): void {
    const properties = own ?? this.acknowledgeProperties[type];
    if (this.handlers.onPacket !== undefined) {
      this.handlers.onPacket('sent', {
        type,
        packetId,
        reasonCode,
        ...(properties === undefined ? {} : { properties }),
      });
    }
    this.connection?.send(encodeAcknowledge(type, packetId, reasonCode, properties, this.options.protocolVersion));
  }

  private sendPublish(message: OutgoingMessage, dup: boolean): void {
    const { qos, retain, topicName, payload, packetId, properties } = message;
    // It may have waited for a server that took more.
    const unsupported = this.limits.refusalOf(qos, retain);
    if (unsupported !== undefined) return this.outgoing.refuse(message, unsupported);
    const packet: PublishPacket = { type: PacketType.Publish, dup, qos, retain, topicName, payload, packetId };
    if (properties !== undefined) packet.properties = properties;
    let refusal: Error | undefined;
    try {
      refusal = this.transmitPublish(packet);
    } catch (error) {
      refusal = error as Error;
    }
    if (refusal !== undefined) this.outgoing.refuse(message, refusal);
  }

  /** Undefined, or why the server would not take it. */
  private transmitPublish(packet: PublishPacket): ClientError | undefined {
    this.handlers.onPacket?.('sent', packet);
    const aliasSent = this.options.automaticTopicAliases === true ? this.limits.applyTopicAlias(packet) : undefined;
    const bytes = encodePacket(packet, this.options.protocolVersion);
    const refusal = this.limits.refusalOfSize(bytes.length);
    if (refusal !== undefined) return refusal;
    aliasSent?.();
    this.connection?.send(bytes);
    return undefined;
  }

  private request(count: number, packetOf: (packetId: number) => Packet): Promise<AnswerResult> {
    if (this.state !== 'connected') return Promise.reject(this.notConnected());
    return this.answers.ask(count, (packetId) => this.sendPacket(packetOf(packetId)));
  }

  // Ending

  private farewell({ reasonCode, message }: ProtocolFailure): Buffer | undefined {
    if (this.options.protocolVersion < 5 || this.state !== 'connected') return undefined;
    return encodePacket({ type: PacketType.Disconnect, reasonCode, properties: { reasonString: message } }, 5);
  }

  private onClosed(connection: Connection, error: Error | undefined): void {
    const closedByUs = this.connection !== connection;
    if (!closedByUs) {
      this.connection = undefined;
      const failure = closingError(error, this.address);
      if (this.handshake !== undefined) {
        const { handshake } = this;
        this.handshake = undefined;
        handshake.reject(failure);
      } else {
        this.onLost(failure);
      }
    }
    const waiters = this.whenClosed;
    this.whenClosed = [];
    for (const resolve of waiters) resolve();
  }

  private onLost(failure: ClientError): void {
    if (this.options.reconnect === undefined) {
      this.becomeIdle(failure);
      this.handlers.onClose?.(failure);
      return;
    }
    this.failRequests(failure);
    this.outgoing.stop();
    this.state = 'waiting';
    this.handlers.onClose?.(failure);
    if ((this.state as string) === 'waiting') void this.reconnect();
  }

  private async reconnect(): Promise<void> {
    const { ends } = this;
    for (;;) {
      try {
        await this.delay();
        await this.attempt(true);
        return;
      } catch (error) {
        if (this.ends !== ends) return;
        this.handlers.onReconnectFailed?.(asClientError(error, this.address));
        if (this.ends !== ends) return;
      }
    }
  }

  /** Doubles from attempt to attempt; a random half keeps many clients from coming back at once. */
  private delay(): Promise<void> {
    const { delayMsMin, delayMsMax } = this.options.reconnect!;
    const full = Math.min(delayMsMax, delayMsMin * 2 ** Math.min(this.attempts, 30));
    this.attempts += 1;
    this.state = 'waiting';
    const controller = new AbortController();
    this.dialling = controller;
    return new Promise((resolve, reject) => {
      this.reconnectTimer = setTimeout(resolve, full / 2 + (Math.random() * full) / 2);
      controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
    });
  }

  private becomeIdle(failure: ClientError): void {
    this.state = 'idle';
    this.ends += 1;
    this.connection = undefined;
    clearTimeout(this.reconnectTimer);
    const { handshake } = this;
    this.handshake = undefined;
    handshake?.reject(failure);
    this.outgoing.stop();
    this.outgoing.fail(failure);
    this.failRequests(failure);
  }

  private failRequests(failure: ClientError): void {
    this.answers.fail(failure);
    this.reauthentication?.reject(failure);
    this.reauthentication = undefined;
  }

  private closed(): ClientError {
    return new ClientError('CLIENT_CLOSED', `the client for ${this.address} was closed`);
  }

  private notConnected(): ClientError {
    return new ClientError('CLIENT_NOT_CONNECTED', `not connected to ${this.address}`);
  }
}
