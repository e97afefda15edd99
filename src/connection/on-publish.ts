/**
 * PUBLISH from a client. Two ways through:
 *
 * `receiveRun`  QoS 0, RETAIN 0, no properties: consecutive packets of one topic go on as one run of bytes, nothing is made
 *               of them.
 * `onPublish`   everything else: validate, resolve the alias, ask the policy, make the message, route it, acknowledge it.
 */
import { quoted, sameBytes } from '../base/index.js';
import {
  isAscii,
  isValidTopicName,
  isValidUtf8,
  Message,
  malformed,
  ProtocolFailure,
  type PubackReasonCode,
  type QoS,
  ReasonCode,
  readVariableByteInteger,
  reasonName,
  topicLevelCount,
  variableByteIntegerLength,
} from '../protocol/index.js';
import type { TopicEntry } from '../router/index.js';
import type { Connection } from './connection.js';
import { control, controlRun } from './control.js';
import { mount } from './mount-point.js';
import type { ClientRates, RateOutcome } from './protection/rates.js';
import { logRefusal } from './refusal-lines.js';
import { AliasesFromClient } from './topic-aliases.js';

const ABOVE_RATE = 'the client publishes faster than it may';

/**
 * Takes the plain QoS 0 PUBLISH at `bytes[start..bodyEnd)` and all like it that follow at once. `end` bounds the chunk.
 * Returns the position after the last packet taken.
 */
export function receiveRun(
  connection: Connection,
  bytes: Buffer,
  start: number,
  bodyStart: number,
  bodyEnd: number,
  end: number,
): number {
  const { context, version5 } = connection;
  const topicStart = bodyStart + 2;
  const topicEnd = topicStart + ((bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!);
  const payloadStart = version5 ? topicEnd + 1 : topicEnd;
  // What is cut short, has properties or an alias for its topic is read the general way, and what is counted one by one or lies below a mount point.
  if (
    payloadStart > bodyEnd ||
    topicEnd === topicStart ||
    (version5 && bytes[topicEnd] !== 0) ||
    connection.rates !== undefined ||
    context.limits.payloadBytesMax > 0 ||
    connection.mountBytes > 0
  ) {
    return onPublish(connection, 0x30, bytes, bodyStart, bodyEnd) ? bodyEnd : start;
  }
  const entry = entryOf(connection, bytes, topicStart, topicEnd);
  const topicBytes = topicEnd - topicStart;
  const run = context.run;
  run.begin(bytes, start, version5, topicBytes, connection.session!.clientId);
  const { packetBytesMax } = connection.granted;
  let count = 1;
  let largest = bodyEnd - start;
  let payloadBytes = bodyEnd - payloadStart;
  let at = bodyEnd;
  while (at + 2 <= end && bytes[at] === 0x30) {
    let length = bytes[at + 1]!;
    let body = at + 2;
    if (length >= 0x80) {
      length = readVariableByteInteger(bytes, at + 1, end);
      if (length < 0) break;
      body = at + 1 + variableByteIntegerLength(length);
    }
    const next = body + length;
    if (next > end || next - at > packetBytesMax || length < payloadStart - bodyStart) break;
    const topicField = topicEnd - bodyStart;
    if (!sameBytes(bytes, bodyStart, body, topicField) || (version5 && bytes[body + topicField] !== 0)) break;
    count++;
    payloadBytes += length - (payloadStart - bodyStart);
    if (next - at > largest) largest = next - at;
    at = next;
  }
  const verdict = verdictOn(connection, entry, 0, false);
  if (verdict === undefined) return start;
  const { metrics } = context;
  metrics.packetsReceived += count;
  metrics.publishReceived += count;
  metrics.publishBytesReceived += payloadBytes;
  if (verdict !== ReasonCode.Success) {
    metrics.publishRefused += count;
    return at;
  }
  if (entry.deliveries.length + entry.groups.length > 0 || entry.delayed !== undefined) {
    run.end = at;
    run.count = count;
    run.packetBytesMax = largest;
    run.payloadBytes = payloadBytes;
    run.topicName = entry.topicName;
    run.receivers = entry.deliveries.length;
    if (entry.delayed === 'control') controlRun(connection, run);
    else context.router.publishRun(run, entry);
    run.release();
  }
  return at;
}

/**
 * Handles one PUBLISH of any kind. `header` is the first byte, `bytes[start..end)` the body. Returns false when a verdict is waited for:
 * then it is handled again.
 */
export function onPublish(connection: Connection, header: number, bytes: Buffer, start: number, end: number): boolean {
  const { context } = connection;
  const { view, metrics, protocol } = context;
  const session = connection.session!;
  view.read(header, bytes, start, end, connection.version);
  const { qos, packetId } = view;
  if (qos > connection.maximumQoS)
    throw new ProtocolFailure(
      ReasonCode.QoSNotSupported,
      'MQTT-3.2.2-11',
      `PUBLISH QoS ${qos} is above the maximum of ${connection.maximumQoS}`,
    );
  if (view.retain && !protocol.retain)
    throw new ProtocolFailure(
      ReasonCode.RetainNotSupported,
      'MQTT-3.2.2-14',
      'PUBLISH RETAIN is 1 and retained messages are off',
    );

  const entry = entryOfView(connection, bytes);
  if (connection.mountBytes > 0) view.topicStart = view.topicEnd; // its name is that of the entry
  // [MQTT-4.3.3-10] a repeated PUBLISH of an open QoS 2 exchange is acknowledged and goes nowhere
  const repeated = qos === 2 && session.hasReceived(packetId);
  if (qos === 2 && !repeated) checkReceiveMaximum(connection);
  let verdict = repeated ? ReasonCode.Success : verdictOn(connection, entry, qos, view.retain);
  if (verdict === undefined) return false;
  metrics.packetsReceived++;
  metrics.publishReceived++;
  metrics.publishBytesReceived += view.payloadEnd - view.payloadStart;
  if (repeated) {
    connection.acknowledge(0x50, packetId, ReasonCode.Success);
    return true;
  }
  const { rates } = connection;
  if (rates !== undefined && !connection.done) {
    const refusal = rates.strict ? rates.refusal(context.nowMs()) : undefined;
    if (refusal !== undefined) return refuseAboveRate(connection, rates, refusal, qos, packetId);
    connection.spendRate(rates, 1 + variableByteIntegerLength(end - start) + end - start);
  }
  let reason: string | undefined;
  if (qos > 0 && context.storage?.failed !== undefined && verdict === ReasonCode.Success) {
    verdict = ReasonCode.QuotaExceeded;
    reason = 'storage cannot be written';
  }
  const { payloadBytesMax } = context.limits;
  if (verdict === ReasonCode.Success && payloadBytesMax > 0 && view.payloadEnd - view.payloadStart > payloadBytesMax) {
    verdict = ReasonCode.ImplementationSpecificError;
    reason = `the payload is larger than ${payloadBytesMax} bytes`;
    logRefusal(connection, 'publish.refused', `publish refused: ${reason}`, {
      topicName: entry.topicName,
      qos,
    });
  }
  if (verdict === ReasonCode.Success) {
    const message = Message.borrow(view, bytes, entry.topicName, session.clientId, context.nowMs);
    if (view.retain) message.source = context.retainedSources.of(connection.client!);
    verdict =
      entry.delayed === 'control'
        ? control(connection, entry.topicName, message.payload)
        : context.router.publish(message, entry);
  }
  if (verdict >= 0x80) metrics.publishRefused++;
  // Also when its connection has ended over it: the client will send it again.
  if (qos === 2 && (verdict < 0x80 || (!connection.version5 && !connection.done))) session.noteReceived(packetId);
  if (qos === 0 || connection.done) return true;
  if (qos === 1) {
    connection.acknowledge(0x40, packetId, verdict, reason); // [MQTT-4.3.2-4]
    return true;
  }
  connection.acknowledge(0x50, packetId, verdict, reason); // [MQTT-4.3.3-8]
  return true;
}

/** A PUBLISH above a rate of its client. */
function refuseAboveRate(
  connection: Connection,
  rates: ClientRates,
  outcome: RateOutcome,
  qos: QoS,
  packetId: number,
): boolean {
  const { metrics } = connection.context;
  metrics.publishAboveRate++;
  connection.tellAboveRate(rates, outcome);
  // 3.x clients cannot be told but by the end of the connection
  if (outcome === 'disconnect' || (outcome === 'quotaExceeded' && qos > 0 && !connection.version5)) {
    connection.disconnect(ReasonCode.MessageRateTooHigh, ABOVE_RATE);
    return true;
  }
  metrics.publishDropped++;
  if (qos === 0) return true;
  if (qos === 2 && outcome === 'drop') connection.session!.noteReceived(packetId);
  connection.acknowledge(
    qos === 1 ? 0x40 : 0x50,
    packetId,
    outcome === 'drop' ? ReasonCode.Success : ReasonCode.QuotaExceeded,
    ABOVE_RATE,
  );
  return true;
}

/**
 * [MQTT-3.3.4-7] 5.0 clients are told how many they may have on their way. Open exchanges of QoS 2 count. Those of QoS 1 have all
 * got their acknowledgement when the next packet is looked at, though it may not have left: clients that send many at once
 * without counting lose nothing. What earlier connections left open does not count either (v5 §3.1.2.11.3): a client that has
 * forgotten it could never publish again.
 */
function checkReceiveMaximum(connection: Connection): void {
  if (!connection.version5) return;
  const { receiveMaximum } = connection.granted;
  const { receivedCount } = connection.session!;
  if (receivedCount < connection.receivedBefore) connection.receivedBefore = receivedCount;
  if (receivedCount - connection.receivedBefore < receiveMaximum) return;
  throw new ProtocolFailure(
    ReasonCode.ReceiveMaximumExceeded,
    'MQTT-3.3.4-7',
    `more than the Receive Maximum of ${receiveMaximum} PUBLISH packets of QoS 2 are not completed`,
  );
}

/** The entry of the view's topic name, or of the alias that stands for it; notes a new alias. */
function entryOfView(connection: Connection, bytes: Buffer): TopicEntry {
  const { view, router } = connection.context;
  const named = view.topicEnd > view.topicStart;
  if (view.topicAlias === 0) return entryOf(connection, bytes, view.topicStart, view.topicEnd);
  connection.aliasesFromClient ??= new AliasesFromClient(
    connection.listener.topicAliasMaximum ?? connection.granted.topicAliasMaximum,
  );
  if (named) {
    const entry = entryOf(connection, bytes, view.topicStart, view.topicEnd);
    connection.aliasesFromClient.set(view.topicAlias, entry);
    return entry;
  }
  const entry = connection.aliasesFromClient.get(view.topicAlias);
  return router.current(entry) ? entry : router.resolve(entry.topicName);
}

/** The resolved entry of a topic name; a name not seen lately is validated first. */
function entryOf(connection: Connection, bytes: Buffer, start: number, end: number): TopicEntry {
  const { router, limits } = connection.context;
  if (connection.mountBytes === 0) {
    const last = connection.lastEntry;
    if (last?.isNamed(bytes, start, end) && router.current(last)) return last;
    const found = router.findEntry(bytes, start, end);
    if (found !== undefined) {
      connection.lastEntry = found;
      return found;
    }
  }
  const ascii = isAscii(bytes, start, end);
  if (!ascii && !isValidUtf8(bytes, start, end))
    throw malformed(
      connection.version5 ? 'MQTT-3.3.2-1' : 'MQTT3-3.3.2-1',
      'PUBLISH Topic Name is not well-formed UTF-8 without NUL',
    );
  const topicName = bytes.toString(ascii ? 'latin1' : 'utf8', start, end);
  if (!isValidTopicName(topicName))
    throw invalidTopicName(
      connection.version5 ? 'MQTT-3.3.2-2' : 'MQTT3-3.3.2-2',
      `${quoted(topicName)} holds a wildcard`,
    );
  if (end - start > limits.topicBytesMax)
    throw invalidTopicName('v5 §3.3.2.1', `is of ${end - start} bytes, above the maximum of ${limits.topicBytesMax}`);
  if (topicLevelCount(topicName) > limits.topicLevelsMax)
    throw invalidTopicName('v5 §3.3.2.1', `has more than ${limits.topicLevelsMax} levels`);
  return router.resolve(mount(connection.mountPoint, topicName));
}

function invalidTopicName(requirement: string, what: string): ProtocolFailure {
  return new ProtocolFailure(ReasonCode.TopicNameInvalid, requirement, `PUBLISH Topic Name ${what}`);
}

/** Undefined: it is waited for. */
function verdictOn(connection: Connection, entry: TopicEntry, qos: QoS, retain: boolean): PubackReasonCode | undefined {
  const { context } = connection;
  const { delayed } = entry;
  const mounted = typeof delayed === 'object' ? delayed.topicName : entry.topicName;
  // Rules are written in the names that clients use.
  const topicName = mounted.startsWith(connection.mountPoint) ? mounted.slice(connection.mountPoint.length) : mounted;
  const verdict = connection.verdict ?? context.policy.authorizePublish(connection.client!, topicName, qos, retain);
  connection.verdict = undefined;
  if (typeof verdict !== 'number') {
    connection.await(
      verdict,
      (answer) => {
        connection.verdict = answer;
      },
      (error) => {
        context.log.error('publish.unauthorized', `no verdict on a publish: ${String(error)}`, connection.description);
        connection.verdict = ReasonCode.NotAuthorized; // a source that fails lets nothing through
      },
    );
    return undefined;
  }
  if (verdict >= 0x80) {
    logRefusal(connection, 'publish.refused', `publish refused: ${reasonName(verdict)}`, {
      topicName: entry.topicName,
      qos,
    });
    // Not when a source could not be asked.
    if (verdict === ReasonCode.NotAuthorized && context.policy.denyAction === 'disconnect')
      connection.disconnect(ReasonCode.NotAuthorized, 'the client may not publish to this topic');
  }
  return verdict;
}
