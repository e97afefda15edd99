/**
 * `dunlin sub`: subscribes and prints, with the options, output and exit codes of mosquitto_sub.
 */
import type { ClientOptions, IncomingMessage } from '../../src/client/index.js';
import { PacketType, type SubscriptionRequest, topicMatches } from '../../src/protocol/index.js';
import { FormatError } from './client-output/message-format.js';
import { messagePrinter } from './client-output/message-printer.js';
import { reasonText } from './client-tool/failure-text.js';
import { exitCodes, isClosing, runTool, ToolRun } from './client-tool/run-tool.js';
import { type ToolOptions, UsageError } from './client-tool/tool-options.js';

export function runSub(args: string[]): Promise<number> {
  return runTool('sub', args, subscribeAndPrint);
}

export function printerOf(options: ToolOptions): ReturnType<typeof messagePrinter> {
  try {
    return messagePrinter({ ...options, format: options.format });
  } catch (error) {
    if (error instanceof FormatError) throw new UsageError(error.message);
    throw error;
  }
}

async function subscribeAndPrint(options: ToolOptions, clientOptions: ClientOptions): Promise<number> {
  const print = printerOf(options);
  let count = 0;
  // set by the SUBACK itself: the messages behind it may come in the same read
  let leaving = false;
  const run: ToolRun = new ToolRun(
    options,
    // what is not dealt with any more stays unacknowledged, so that a session that is kept has it the next time
    { ...clientOptions, manualAcknowledge: true, reconnect: { delayMsMin: 1000, delayMsMax: 1000, initial: false } },
    {
      onPacket: (direction, packet) => {
        if (direction !== 'received' || packet.type !== PacketType.Suback) return;
        if (options.debug) run.output.write(`Subscribed (mid: 1): ${packet.reasonCodes.join(', ')}\n`);
        leaving = options.exitWhenSubscribed;
      },
      onConnect: () => {
        subscribeAll(run).catch((error: unknown) => {
          // a lost connection subscribes again when it is back
          if (!isClosing(error) && run.client.connected) run.fail(error);
        });
      },
      onMessage: (message) => {
        if (run.finished || leaving) return;
        if (options.retainedOnly && !message.retain) {
          run.finish(exitCodes.ok);
          return;
        }
        if (wanted(message, options, run)) {
          run.output.write(print(message));
          count += 1;
          if (count === options.messageCountMax) run.finish(exitCodes.ok);
        }
        message.acknowledge();
      },
    },
  );
  return run.run(async () => {});
}

/** What the options leave of a message; what they ask to do about it besides printing happens here too. */
function wanted(message: IncomingMessage, options: ToolOptions, run: ToolRun): boolean {
  const { topicName, retain } = message;
  if (options.filterOut.some((filter) => topicMatches(filter, topicName))) return false;
  if (options.removeRetained && retain) removeRetained(run, topicName);
  if (options.noRetained && retain) return false;
  return options.randomFilter >= 100 || Math.random() * 100 < options.randomFilter;
}

function removeRetained(run: ToolRun, topicName: string): void {
  const { publish } = run.options.properties;
  const properties = publish === undefined ? {} : { properties: publish };
  run.client.publish(topicName, Buffer.alloc(0), { qos: 1, retain: true, ...properties }).then(
    ({ reasonCode }) => {
      if (reasonCode >= 0x80) run.say(`Warning: Clearing ${topicName} failed: ${reasonText(reasonCode)}.`);
    },
    (error: unknown) => {
      if (!isClosing(error)) run.fail(error);
    },
  );
}

async function subscribeAll(run: ToolRun): Promise<void> {
  const { options, client } = run;
  const { properties } = options;
  const answer = client.subscribe(
    options.topics.map((topic) => subscriptionOf(topic, options)),
    properties.subscribe,
  );
  const unsubscribed =
    options.unsubscribe.length === 0 ? undefined : client.unsubscribe(options.unsubscribe, properties.unsubscribe);
  const { reasonCodes } = await answer;
  if (reasonCodes.every((code) => code >= 0x80)) {
    run.say(`All subscription requests were denied: ${reasonCodes.map(reasonText).join(', ')}.`);
    run.finish(reasonCodes[0]!);
  }
  for (const [index, code] of reasonCodes.entries()) {
    if (code >= 0x80 && !run.finished)
      run.say(`Warning: Subscription to ${options.topics[index]} failed: ${reasonText(code)}.`);
  }
  await unsubscribed;
  if (options.exitWhenSubscribed) run.finish(exitCodes.ok);
}

export function subscriptionOf(topicFilter: string, options: ToolOptions): SubscriptionRequest {
  return {
    topicFilter,
    qos: options.qos,
    noLocal: false,
    retainAsPublished: options.retainAsPublished,
    // no need to have sent what will not be printed
    retainHandling: options.noRetained && !options.removeRetained ? 2 : 0,
  };
}
