/**
 * `dunlin pub`: publishes and exits, with the options and exit codes of mosquitto_pub.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientOptions, PublishOptions } from '../../src/client/index.js';
import { reasonText } from './client-tool/failure-text.js';
import { readPayload, standardInputLines } from './client-tool/message-source.js';
import { endedBy, exitCodes, isClosing, runTool, ToolRun } from './client-tool/run-tool.js';
import type { ToolOptions } from './client-tool/tool-options.js';

/** Lines of `-l` whose acknowledgement is awaited; more are not read until it goes down. */
const unacknowledgedMax = 10_000;

export function runPub(args: string[]): Promise<number> {
  return runTool('pub', args, publishAll);
}

async function publishAll(options: ToolOptions, clientOptions: ClientOptions): Promise<number> {
  const { source } = options;
  if (source === undefined) return exitCodes.failed;
  const payload = source.kind === 'lines' ? undefined : await readPayload(source);
  // Lines at QoS 1 and 2 survive a lost connection. One message does not: a server that ends the connection because of it
  // would get it again and again.
  const again = options.qos > 0 && source.kind === 'lines';
  const reconnect = again ? { reconnect: { delayMsMin: 1000, delayMsMax: 1000, initial: false } } : {};
  const run: ToolRun = new ToolRun(
    options,
    { ...clientOptions, ...reconnect },
    {
      onClose: (error) => {
        if (!again) run.fail(error);
      },
    },
  );
  const publisher = new Publisher(run);
  return run.run(
    async () => {
      if (payload === undefined) for await (const line of standardInputLines(run.ended)) await publisher.publish(line);
      else await repeat(publisher, payload, options, run.ended);
      await publisher.finish();
      run.finish(exitCodes.ok);
    },
    endedBy, // like mosquitto_pub: not everything was published
  );
}

async function repeat(
  publisher: Publisher,
  payload: Buffer,
  { repeatCount, repeatDelaySeconds }: ToolOptions,
  ended: AbortSignal,
): Promise<void> {
  for (let turn = 1; turn <= repeatCount; turn += 1) {
    await publisher.publish(payload);
    if (turn === repeatCount) return;
    await publisher.finish();
    if (repeatDelaySeconds > 0) await sleep(repeatDelaySeconds * 1000, undefined, { signal: ended });
  }
}

/** Publishes one after another and knows when all are acknowledged. */
class Publisher {
  private readonly pending = new Set<Promise<void>>();
  private count = 0;

  constructor(private readonly run: ToolRun) {}

  async publish(payload: Buffer): Promise<void> {
    const { options, client, finished } = this.run;
    if (finished) return;
    this.count += 1;
    const number = this.count;
    const publishOptions: PublishOptions = { qos: options.qos, retain: options.retain };
    if (options.properties.publish !== undefined) publishOptions.properties = options.properties.publish;
    const published = client.publish(options.topics[0]!, payload, publishOptions);
    if (options.qos === 0) {
      await published;
      return;
    }
    const settled = published.then(
      ({ reasonCode, properties }) => {
        if (reasonCode < 0x80) return;
        this.run.say(`Warning: Publish ${number} failed: ${reasonText(reasonCode)}.`);
        if (properties?.reasonString !== undefined) this.run.say(properties.reasonString);
      },
      (error: unknown) => {
        if (!isClosing(error)) this.run.fail(error);
      },
    );
    this.pending.add(settled);
    void settled.then(() => this.pending.delete(settled));
    while (this.pending.size >= unacknowledgedMax) await Promise.race(this.pending);
  }

  async finish(): Promise<void> {
    await Promise.all(this.pending);
  }
}
