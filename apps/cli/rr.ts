/**
 * `dunlin rr`: publishes a request and prints the first response, with the options and exit codes of mosquitto_rr.
 */
import type { ClientOptions, PublishOptions } from '../../src/client/index.js';
import { reasonText } from './client-tool/failure-text.js';
import { readPayload } from './client-tool/message-source.js';
import { endedBy, exitCodes, isClosing, runTool, ToolRun } from './client-tool/run-tool.js';
import type { ToolOptions } from './client-tool/tool-options.js';
import { printerOf, subscriptionOf } from './sub.js';

export function runRr(args: string[]): Promise<number> {
  return runTool('rr', args, requestAndPrint);
}

async function requestAndPrint(options: ToolOptions, clientOptions: ClientOptions): Promise<number> {
  const { source, responseTopic } = options;
  if (source === undefined || source.kind === 'lines' || responseTopic === undefined) return exitCodes.failed;
  const print = printerOf(options);
  const payload = await readPayload(source);
  // later messages stay unacknowledged, for a session that is kept
  const run: ToolRun = new ToolRun(
    options,
    { ...clientOptions, manualAcknowledge: true },
    {
      onClose: (error) => run.fail(error),
      onMessage: (message) => {
        if (run.finished) return;
        message.acknowledge();
        if (options.noRetained && message.retain) return;
        run.output.write(print(message));
        run.finish(exitCodes.ok);
      },
    },
  );
  const work = async (): Promise<void> => {
    const { reasonCodes } = await run.client.subscribe(
      [subscriptionOf(responseTopic, options)],
      options.properties.subscribe,
    );
    const [code = 0] = reasonCodes;
    if (code >= 0x80) {
      run.say(`The subscription to ${responseTopic} was denied: ${reasonText(code)}.`);
      run.finish(code);
      return;
    }
    await request(run, responseTopic, payload);
  };
  return run.run(work, endedBy); // like mosquitto_rr: there was no response
}

async function request(run: ToolRun, responseTopic: string, payload: Buffer): Promise<void> {
  const { options, client } = run;
  const publishOptions: PublishOptions = { qos: options.qos };
  if (run.version === 5) publishOptions.properties = { ...options.properties.publish, responseTopic };
  try {
    const { reasonCode } = await client.publish(options.topics[0]!, payload, publishOptions);
    if (reasonCode >= 0x80) run.say(`Warning: Publish failed: ${reasonText(reasonCode)}.`);
  } catch (error) {
    // the response may overtake the acknowledgement of the request
    if (!isClosing(error)) throw error;
  }
}
