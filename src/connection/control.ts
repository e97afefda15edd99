/**
 * A PUBLISH below `$CONTROL/` is for the broker: it is authorized and acknowledged like any other, then carried out here and never routed.
 * Its answer goes to the client that asked and to nobody else, at QoS 0 and by a subscription of its own that matches; without one
 * there is no answer.
 */
import type { Client } from '../policy/index.js';
import { Message, type PubackReasonCode, type PublishRun, ReasonCode, topicMatches } from '../protocol/index.js';
import type { Connection } from './connection.js';

export interface ControlRequest {
  readonly client: Client;
  readonly topicName: string;
  /** Good only during the call. */
  readonly payload: Uint8Array;
  /** Sends an answer, now or later; does nothing once the client is gone. */
  reply(topicName: string, text: string): void;
}

/** Carries out a request; what it returns is the reason code of the acknowledgement. */
export type ControlHandler = (request: ControlRequest) => PubackReasonCode;

export function control(connection: Connection, topicName: string, payload: Uint8Array): PubackReasonCode {
  const { control: handle } = connection.context;
  const client = connection.client!;
  if (handle === undefined) return ReasonCode.Success;
  return handle({
    client,
    topicName,
    payload,
    reply: (responseTopic, text) => reply(connection, responseTopic, text),
  });
}

/** The same for a run of plain QoS 0 packets. */
export function controlRun(connection: Connection, run: PublishRun): void {
  for (const message of run.messages()) control(connection, message.topicName, message.payload);
}

function reply(connection: Connection, topicName: string, text: string): void {
  const { session, context } = connection;
  if (connection.done || session === undefined || connection.mountBytes > 0) return;
  const matching = [...session.allSubscriptions].filter(
    ({ shareName, topicFilter }) => shareName === undefined && topicMatches(topicFilter, topicName),
  );
  if (matching.length === 0) return;
  const ids = matching.flatMap(({ subscriptionIds }) => subscriptionIds ?? []);
  const message = Message.create({ topicName, payload: text }, context.nowMs());
  if (!connection.publish(message, 0, false, false, 0, ids.length === 0 ? undefined : ids)) {
    context.metrics.publishDropped++;
    context.log.warning('control.answer-dropped', 'an answer could not be sent to the client that asked', {
      ...connection.description,
      topicName,
      bytes: message.bytes,
    });
  }
}
