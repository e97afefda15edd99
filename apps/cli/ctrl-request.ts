/** Sends one command to `$CONTROL/dynamic-security/v1` and waits for its answer. */
import type { ClientOptions } from '../../src/client/index.js';
import { reasonText } from './client-tool/failure-text.js';
import { exitCodes, ToolRun } from './client-tool/run-tool.js';
import type { ToolOptions } from './client-tool/tool-options.js';

const TOPIC = '$CONTROL/dynamic-security/v1';
const RESPONSE_TOPIC = `${TOPIC}/response`;
/** How long a broker may take for its answer, milliseconds. */
const ANSWER_MS = 30_000;

interface Response {
  readonly command?: string;
  readonly error?: string;
  readonly data?: unknown;
}

/** `print` turns the data of the answer into lines. Returns the exit code. */
export async function sendCommand(
  options: ToolOptions,
  clientOptions: ClientOptions,
  command: { readonly command: string },
  print: (data: Record<string, unknown>) => string[],
): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const run: ToolRun = new ToolRun(options, clientOptions, {
    onClose: (error) => run.fail(error),
    onMessage: (message) => {
      if (run.finished || message.topicName !== RESPONSE_TOPIC) return;
      const response = parseResponse(message.payload);
      if (response?.error !== undefined) {
        run.say(`${response.command ?? command.command}: Error: ${response.error}`);
        return run.finish(exitCodes.failed);
      }
      if (response === undefined) {
        run.say('Error: The answer of the broker cannot be understood.');
        return run.finish(exitCodes.failed);
      }
      const { data } = response;
      if (typeof data === 'object' && data !== null)
        run.output.write(
          print(data as Record<string, unknown>)
            .map((line) => `${line}\n`)
            .join(''),
        );
      run.finish(exitCodes.ok);
    },
  });
  try {
    return await run.run(async () => {
      const { reasonCodes } = await run.client.subscribe([
        { topicFilter: RESPONSE_TOPIC, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 2 },
      ]);
      const [code = 0] = reasonCodes;
      if (code >= 0x80) return refused(run, 'Subscribe error', code);
      timer = setTimeout(() => {
        run.say(`Error: The broker gave no answer in ${ANSWER_MS / 1000} seconds.`);
        run.finish(exitCodes.timedOut);
      }, ANSWER_MS);
      const payload = Buffer.from(JSON.stringify({ commands: [command] }));
      const { reasonCode } = await run.client.publish(TOPIC, payload, { qos: options.qos });
      if (reasonCode >= 0x80) refused(run, 'Publish error', reasonCode);
    });
  } finally {
    clearTimeout(timer);
  }
}

function refused(run: ToolRun, what: string, reasonCode: number): void {
  if (run.finished) return;
  run.say(`${what}: ${reasonText(reasonCode)}`);
  run.finish(reasonCode);
}

function parseResponse(payload: Uint8Array): Response | undefined {
  try {
    const tree = JSON.parse(Buffer.from(payload).toString('utf8')) as { responses?: Response[] };
    return tree.responses?.[0];
  } catch {
    return undefined;
  }
}
