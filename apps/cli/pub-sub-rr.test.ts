/**
 * Goal: pub, sub and rr can take the place of mosquitto_pub, mosquitto_sub and mosquitto_rr. Method: the same arguments for
 * both against the same broker, and then the same standard output, exit code and messages on the wire. What differs from run
 * to run (time, assigned identifiers) is blanked in both.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type IncomingMessage, MqttClient } from '../../src/client/index.js';
import { findProgram, freePort, type Mosquitto, startMosquitto } from '../../src/client/mosquitto.test.helper.js';
import type { Properties } from '../../src/protocol/index.js';

const here = 'apps/cli/pub-sub-rr.test.ts';
const broker = findProgram('mosquitto', here);
const missing = ['mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr'].filter(
  (program) => findProgram(program, here) === undefined,
);
const skip = (broker === undefined || missing.length > 0) && 'mosquitto or its clients are not installed';

interface Result {
  output: string;
  errors: string;
  exitCode: number | null;
}

type Tool = 'pub' | 'sub' | 'rr';

/** Seconds after which a run ends by itself: what it is to print must have come by then, also on a busy machine. */
const WAIT = '3';

const folder = fileURLToPath(new URL('.', import.meta.url));

function execute(
  file: string,
  args: readonly string[],
  input: string | Buffer,
  env: NodeJS.ProcessEnv,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...process.env, XDG_CONFIG_HOME: '/nonexistent', ...env } });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (exitCode) =>
      resolve({ output: Buffer.concat(output).toString('latin1'), errors: Buffer.concat(errors).toString(), exitCode }),
    );
  });
}

function ours(
  tool: Tool,
  args: readonly string[],
  input: string | Buffer = '',
  env: NodeJS.ProcessEnv = {},
): Promise<Result> {
  const name = `run${tool.charAt(0).toUpperCase()}${tool.slice(1)}`;
  const script = `import { ${name} } from ${JSON.stringify(join(folder, `${tool}.js`))}; process.exitCode = await ${name}(process.argv.slice(1));`;
  return execute(process.execPath, ['--input-type=module', '-e', script, '--', ...args], input, env);
}

function theirs(
  tool: Tool,
  args: readonly string[],
  input: string | Buffer = '',
  env: NodeJS.ProcessEnv = {},
): Promise<Result> {
  return execute(`mosquitto_${tool}`, args, input, env);
}

/** Blanks times and identifiers that a run cannot repeat. */
function blanked(text: string): string {
  return text
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6}Z)?/g, '<time>')
    .replace(/\d{10}\.\d{9}/g, '<seconds>')
    .replace(/21474836\d\d/g, '<expiry>')
    .replace(/auto-[0-9A-F-]{36}/g, '<id>')
    .replace(/mosq-[A-Za-z0-9]{18}/g, '<id>')
    .replace(/pre\d+/g, '<id>');
}

/** What was sent and, after it, what was received, each in its order: acknowledgements and further messages cross. */
function sentThenReceived(text: string): string {
  const received = (line: string): boolean => line.includes(' received ');
  const lines = blanked(text).split('\n');
  return [...lines.filter((line) => !received(line)), ...lines.filter(received)].join('\n');
}

const retained: readonly [topicName: string, payload: string | Buffer, properties?: Properties][] = [
  ['r/1', 'one'],
  [
    'r/2',
    '{"a":[1,2.50,null,true],"b":"é\\u0001"}',
    {
      contentType: 'ct',
      userProperties: [
        ['k', 'v'],
        ['k', 'é"'],
      ],
      responseTopic: 'rt',
      correlationData: Buffer.from('cd'),
      payloadFormatIndicator: 1,
      messageExpiryInterval: 2_147_483_640,
    },
  ],
  ['r/3', Buffer.from('00 01 ff 22 5c 2f 0a 09 08 0c 0d 1f 7f 20 c3 a9'.replaceAll(' ', ''), 'hex')],
  ['r/long/topic/é', 'x'.repeat(300)],
  [
    'json/1',
    '{"a":{},"b":[],"c":[{"x":1},{}],"d":1e300,"e":123456789012345678,"f":0.1,"g":1.0e5,"h":"\\u00e9\\n\\u0007\\/\\ud83d\\ude00","10":1,"2":2,"a":3,"n":-0,"i":1e15,"j":100000000000,"k":1.5e-7,"l":0.00012}',
  ],
  ['json/2', ' [ 1 , "a\\"b" , [ ] , [[{}]], true, -12.75 ] '],
  ['json/3', '{"open":'],
  ['json/4', '17'],
];

describe('sub and rr print what mosquitto_sub and mosquitto_rr print', { skip }, () => {
  let server: Mosquitto;
  before(async () => {
    server = await startMosquitto(broker!);
    const client = await open(server.port);
    for (const [topicName, payload, properties] of retained) {
      const qos = topicName === 'r/2' ? 1 : 0;
      await client.publish(topicName, Buffer.from(payload as string), {
        qos,
        retain: true,
        ...(properties === undefined ? {} : { properties }),
      });
    }
    await client.disconnect();
  });
  after(() => server.stop());

  const cases: readonly (readonly [Tool, ...string[]])[] = [
    ['sub', '-t', 'r/#', '-C', '4'],
    ['sub', '-t', 'r/#', '-C', '4', '-v'],
    ['sub', '-t', 'r/#', '-C', '4', '-v', '-N'],
    ['sub', '-t', 'r/#', '-C', '2', '-v', '-V', '31'],
    ['sub', '-t', 'r/#', '-C', '2', '-v', '-V', 'mqttv5', '-q', '2'],
    ['sub', '-t', 'r/1', '-t', 'json/4', '-C', '2', '-v'],
    ['sub', '-t', 'r/#', '-T', 'r/1', '-T', '+/long/#', '-C', '2', '-v'],
    ['sub', '-t', 'r/#', '-C', '4', '-F', '%j', '-V', '5'],
    ['sub', '-t', 'r/#', '-C', '4', '-F', '%j', '-V', '5', '-q', '1', '--pretty'],
    ['sub', '-t', 'r/#', '-C', '4', '-F', '%J', '-q', '1'],
    ['sub', '-t', 'json/#', '-C', '4', '-F', '%J'],
    ['sub', '-t', 'json/#', '-C', '4', '-F', 'x%J', '--pretty'],
    ['sub', '-t', 'r/#', '-C', '4', '-F', '%t|%l|%m|%q|%r|%x|%X|%p', '-q', '1'],
    [
      'sub',
      '-t',
      'r/#',
      '-C',
      '4',
      '-F',
      '%A|%C|%D|%E|%F|%P|%R|%S|%I|%U|%%|@@|\\\\|\\0\\t\\e\\a\\v\\r\\n',
      '-q',
      '1',
      '-V',
      '5',
    ],
    [
      'sub',
      '-t',
      'r/#',
      '-C',
      '4',
      '-V',
      '5',
      '-F',
      '[%10t][%-10t][%2.2t][%010t][%-5.1t][%.3t][%10C][%-10C][%.1C][%10R][%.0R]',
    ],
    [
      'sub',
      '-t',
      'r/#',
      '-C',
      '4',
      '-V',
      '5',
      '-F',
      '[%10F][%010F][%-10F][%-12E][%012E][%5A][%05A][%5S][%-5S][%5P][%5D]',
    ],
    [
      'sub',
      '-t',
      'r/#',
      '-C',
      '4',
      '-q',
      '1',
      '-F',
      '[%5l][%05l][%-5l][%5m][%05m][%5q][%5r][%3x][%.2x][%03X][%-9x][%7X][%5p][%-5p][%5.2p][%05p]',
    ],
    ['sub', '-t', 'r/1', '-C', '1', '-F', '[%40I][%-40I][%.4I][%.10I]'],
    [
      'sub',
      '-t',
      'r/1',
      '-C',
      '1',
      '-F',
      '@Y-@m-@d @H @a @A @b @B @C @D @e @F @g @G @h @I @j @k @l @n @p @P @t @u @U @V @w @W @x @y @z @Z @E @O @+ @L @f @i @q',
    ],
    ['sub', '-t', 'r/1', '-C', '1', '-V', '5', '-F', '%t %S', '-D', 'subscribe', 'subscription-identifier', '77'],
    ['sub', '-t', 'r/1', '-t', 'r/2', '-C', '2', '-d'],
    ['sub', '-t', 'r/2', '-C', '1', '-d', '-V', '5', '-q', '2', '-R', '-W', WAIT],
    ['sub', '-t', 'r/2', '-d', '-E', '-V', '5', '-q', '2', '--retain-as-published', '--retained-only'],
    ['sub', '-t', 'none', '-d', '-W', WAIT],
    ['sub', '-t', 'none', '-U', 'none', '-E', '-I', 'pre', '-V', '31'],
    ['sub', '-t', 'r/#', '-W', WAIT, '-R'],
    ['sub', '-t', 'r/1', '-W', WAIT, '--retained-only'],
    [
      'sub',
      '-t',
      '$share/g/none',
      '-E',
      '-k',
      '5',
      '-i',
      'kept',
      '-c',
      '--will-topic',
      'w',
      '--will-payload',
      'p',
      '--will-qos',
      '1',
      '--will-retain',
    ],
    ['sub', '-t', 'r/1', '-C', '1', '-i', 'kept', '-V', '5', '-x', '0', '-D', 'connect', 'user-property', 'a', 'b'],
    ['rr', '-t', 'rr/1', '-e', 'rr/1', '-m', 'hello', '-v'],
    [
      'rr',
      '-t',
      'rr/1',
      '-e',
      'rr/1',
      '-m',
      '{"a":1}',
      '-F',
      '%t %p %R %D %J',
      '-D',
      'publish',
      'correlation-data',
      'xyz',
    ],
    ['rr', '-t', 'rr/1', '-e', 'rr/1', '-m', 'hello', '-V', '311', '-q', '0'],
    ['rr', '-t', 'rr/1', '-e', 'rr/1', '-n', '-N', '-v'],
    ['rr', '-t', 'rr/1', '-e', 'rr/none', '-m', 'x', '-W', WAIT],
  ];
  for (const [tool, ...args] of cases) {
    test(`${tool} ${args.join(' ')}`, async () => {
      const all = ['-h', '127.0.0.1', '-p', String(server.port), ...args];
      // Those that end by themselves need not wait for each other; the others may have the same client identifier.
      const run = theirs(tool, all);
      const [expected, actual] = args.includes('-W')
        ? await Promise.all([run, ours(tool, all)])
        : [await run, await ours(tool, all)];
      assert.equal(blanked(actual.output), blanked(expected.output), actual.errors);
      assert.deepEqual([actual.exitCode, actual.errors], [expected.exitCode, expected.errors]);
    });
  }

  test('clearing retained messages, all but one', async () => {
    const client = await open(server.port);
    for (const name of ['a', 'b', 'c'])
      await client.publish(`clear/${name}`, Buffer.from(name), { qos: 1, retain: true });
    const where = ['-h', '127.0.0.1', '-p', String(server.port), '-t', 'clear/#', '-W', WAIT];
    const cleared = await ours('sub', [...where, '--remove-retained', '-T', 'clear/b', '-v']);
    // the clearing messages themselves come back without a payload and are printed as such
    assert.deepEqual(
      [...new Set(cleared.output.split('\n').filter((line) => !line.endsWith('(null)')))],
      ['clear/a a', 'clear/c c', ''],
    );
    assert.equal((await ours('sub', [...where, '-v', '--retained-only'])).output, 'clear/b b\n');
    await client.publish('clear/b', Buffer.alloc(0), { qos: 1, retain: true });
    await client.disconnect();
  });

  test('a reader that goes away ends the run', async () => {
    const client = await open(server.port);
    let over = false;
    const script = `import { runSub } from "${join(folder, 'sub.js')}"; process.exitCode = await runSub(process.argv.slice(1));`;
    const args = ['-h', '127.0.0.1', '-p', String(server.port), '-t', 'pipe/1', '-v'];
    const running = execute(
      '/bin/sh',
      ['-c', `"$0" --input-type=module -e '${script}' -- "$@" | head -n 1`, process.execPath, ...args],
      '',
      {},
    ).finally(() => {
      over = true;
    });
    while (!over) {
      await client.publish('pipe/1', Buffer.from('one'));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal((await running).output, 'pipe/1 one\n');
    await client.disconnect();
  });
});

describe('pub sends what mosquitto_pub sends', { skip }, () => {
  let server: Mosquitto;
  let inbox: string[] = [];
  let client: MqttClient;
  let wake = () => {};
  before(async () => {
    server = await startMosquitto(broker!);
    client = await open(server.port, (message) => {
      inbox.push(describeMessage(message));
      wake();
    });
    await client.subscribe([{ topicFilter: '#', qos: 2, noLocal: false, retainAsPublished: true, retainHandling: 2 }]);
  });
  after(async () => {
    await client.disconnect();
    await server.stop();
  });

  /** What arrived, once it is `count` messages and one of our own, sent after them, has come too. */
  async function received(count: number): Promise<string[]> {
    while (inbox.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const ended = new Promise<void>((resolve) => {
      wake = () => inbox.some((message) => message.startsWith('end ')) && resolve();
    });
    await client.publish('end', Buffer.alloc(0), { qos: 1 });
    await ended;
    const messages = inbox.filter((message) => !message.startsWith('end '));
    inbox = [];
    return messages;
  }

  const lines = 'a\nb b\n\nlast';
  /** input, count of messages, arguments */
  const cases: readonly (readonly [input: string, count: number, ...args: string[]])[] = [
    ['', 1, '-t', 'p/1', '-m', 'hello'],
    ['', 1, '-t', 'p/1', '-m', 'é', '-q', '1', '-r', '-V', '5', '-d'],
    ['', 1, '-t', 'p/1', '-m', '', '-q', '2', '-d'],
    ['', 1, '-t', 'p/1', '-n', '-r', '-V', '31'],
    ['', 1, '-t', 'p/1', '-f', fileURLToPath(import.meta.url), '-q', '1'],
    [lines, 1, '-t', 'p/1', '-s', '-q', '2', '-V', '5'],
    [lines, 4, '-t', 'p/1', '-l'],
    [lines, 4, '-t', 'p/1', '-l', '-q', '1', '-V', '5', '-d'],
    [lines, 4, '-t', 'p/1', '-l', '-q', '2', '-M', '1'],
    ['', 0, '-t', 'p/1', '-l'],
    ['', 0, '-t', 'p/1', '-s'],
    ['', 3, '-t', 'p/1', '-m', 'again', '--repeat', '3', '-q', '1', '-d'],
    ['', 2, '-t', 'p/1', '-m', 'again', '--repeat', '2', '--repeat-delay', '0.05'],
    [
      '',
      1,
      '-t',
      'p/1',
      '-m',
      'x',
      '-D',
      'publish',
      'user-property',
      'a',
      'b',
      '-D',
      'publish',
      'user-property',
      'a',
      'c',
      '-D',
      'PUBLISH',
      'content-type',
      't/p',
      '-D',
      'publish',
      'correlation-data',
      'é',
      '-D',
      'publish',
      'response-topic',
      'r/t',
      '-D',
      'publish',
      'payload-format-indicator',
      '1',
      '-D',
      'publish',
      'topic-alias',
      '4',
    ],
    [
      '',
      1,
      '-t',
      'p/1',
      '-m',
      'x',
      '-u',
      'someone',
      '-P',
      'secret',
      '-i',
      'me',
      '-c',
      '-k',
      '10',
      '--nodelay',
      '-A',
      '127.0.0.1',
    ],
    [
      '',
      1,
      '-t',
      'p/1',
      '-m',
      'x',
      '-V',
      '5',
      '-x',
      '-1',
      '-i',
      'stays',
      '-d',
      '-D',
      'disconnect',
      'reason-string',
      'bye',
    ],
    [
      '',
      1,
      '-t',
      'p/1',
      '-m',
      'x',
      '--will-topic',
      'p/w',
      '--will-payload',
      'gone',
      '-V',
      '5',
      '-D',
      'will',
      'content-type',
      'x',
    ],
  ];
  for (const [input, count, ...args] of cases) {
    test(`pub ${args.join(' ')}`, async () => {
      const all = ['-h', '127.0.0.1', '-p', String(server.port), ...args];
      const expected = await theirs('pub', all, input);
      const expectedMessages = await received(count);
      const actual = await ours('pub', all, input);
      assert.deepEqual(await received(count), expectedMessages);
      assert.equal(sentThenReceived(actual.output), sentThenReceived(expected.output), actual.errors);
      assert.equal(actual.exitCode, expected.exitCode, actual.errors);
      assert.equal(actual.errors === '', expected.errors === '', actual.errors);
    });
  }

  test('a URL, and options from the configuration file', async () => {
    const url = ['-L', `mqtt://u:p@127.0.0.1:${server.port}/p/url`, '-m', 'x'];
    await theirs('pub', url);
    const expected = await received(1);
    assert.equal((await ours('pub', url)).exitCode, 0);
    assert.deepEqual(await received(1), expected);

    const home = mkdtempSync(join(tmpdir(), 'dunlin-pub-'));
    writeFileSync(
      join(home, 'mosquitto_pub'),
      `# defaults\n-m hello world  x\n-t p/conf\n-q 1\n-h 127.0.0.1\n-p ${server.port}\n`,
    );
    for (const args of [[], ['-q', '2', '-t', 'p/other']]) {
      const result = await theirs('pub', args, '', { XDG_CONFIG_HOME: home });
      assert.equal(result.exitCode, 0, result.errors);
      const messages = await received(1);
      assert.equal((await ours('pub', args, '', { XDG_CONFIG_HOME: home })).exitCode, 0);
      assert.deepEqual(await received(1), messages);
    }
    rmSync(home, { recursive: true });
  });
});

describe('refusals', { skip }, () => {
  test('exit codes of a broker that refuses, by version', async (t) => {
    const server = await startMosquitto(broker!, (port) => [`listener ${port} 127.0.0.1`, 'allow_anonymous false']);
    t.after(() => server.stop());
    for (const version of ['31', '311', '5']) {
      for (const [tool, ...args] of [
        ['pub', '-t', 'a', '-m', 'b'],
        ['sub', '-t', 'a', '-W', WAIT],
        ['rr', '-t', 'a', '-e', 'b', '-m', 'c', '-W', WAIT],
      ] as const) {
        const all = ['-h', '127.0.0.1', '-p', String(server.port), '-V', version, ...args];
        const expected = await theirs(tool, all);
        const actual = await ours(tool, all);
        assert.equal(actual.exitCode, expected.exitCode, actual.errors);
        // mosquitto_rr reads the return codes of 3.x as if they were reason codes
        if (tool !== 'rr') assert.equal(actual.errors.split('\n')[0], expected.errors.split('\n')[0]);
      }
    }
  });

  test('publishing where it is not allowed warns in 5.0 and succeeds', async (t) => {
    const server = await startMosquitto(broker!, (port, directory) => {
      writeFileSync(join(directory, 'acl'), 'topic read #\n');
      return [`listener ${port} 127.0.0.1`, 'allow_anonymous true', `acl_file ${directory}/acl`];
    });
    t.after(() => server.stop());
    for (const qos of ['1', '2']) {
      const args = ['-h', '127.0.0.1', '-p', String(server.port), '-V', '5', '-t', 'a', '-m', 'b', '-q', qos];
      const expected = await theirs('pub', args);
      const actual = await ours('pub', args);
      assert.deepEqual([actual.exitCode, actual.errors], [expected.exitCode, expected.errors]);
    }
  });

  test('a pre-shared key opens a TLS listener, a wrong one does not', async (t) => {
    const server = await startMosquitto(broker!, (port, directory) => {
      writeFileSync(join(directory, 'psk'), 'gull:00ff11\n');
      return [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'psk_hint x', `psk_file ${directory}/psk`];
    });
    t.after(() => server.stop());
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      String(server.port),
      '-t',
      'a',
      '-m',
      'b',
      '-q',
      '1',
      '--psk-identity',
      'gull',
      '--psk',
    ];
    const [right, wrongKey] = await Promise.all([ours('pub', [...args, '00ff11']), ours('pub', [...args, '00ff12'])]);
    assert.deepEqual([right.exitCode, right.errors], [0, '']);
    assert.equal(wrongKey.exitCode, 1);
    assert.match(wrongKey.errors, /^Error: .*127\.0\.0\.1/);
  });

  test('nothing listens, or no such name', async () => {
    const port = String(await freePort());
    for (const args of [
      ['-h', '127.0.0.1', '-p', port],
      ['--unix', '/nonexistent/socket'],
      ['-h', '127.0.0.1', '-p', port, '--quiet'],
    ]) {
      const all = [...args, '-t', 'a', '-m', 'b'];
      const expected = await theirs('pub', all);
      const actual = await ours('pub', all);
      assert.equal(actual.exitCode, expected.exitCode);
      assert.ok(actual.errors.startsWith(expected.errors.trimEnd()), `${actual.errors} ${expected.errors}`);
    }
  });

  const wrong: readonly (readonly [Tool, ...string[]])[] = [
    ['pub'],
    ['pub', '-t', 'a'],
    ['pub', '-m', 'a'],
    ['pub', '-t', 'a', '-m', 'b', '--bogus'],
    ['pub', '-t'],
    ['pub', '-t', 'a/#', '-m', 'b'],
    ['pub', '-t', 'a', '-m', 'b', '-n'],
    ['pub', '-t', 'a', '-f', '/nonexistent'],
    ['pub', '-t', 'a', '-m', 'b', '-q', '3'],
    ['pub', '-t', 'a', '-m', 'b', '-p', '70000'],
    ['pub', '-t', 'a', '-m', 'b', '-c'],
    ['pub', '-t', 'a', '-m', 'b', '-c', '-V', '5'],
    ['pub', '-t', 'a', '-m', 'b', '-c', '-I', 'x'],
    ['pub', '-t', 'a', '-m', 'b', '-x', '-1', '-I', 'x', '-V', '5'],
    ['pub', '-t', 'a', '-m', 'b', '-i', 'x', '-I', 'y'],
    ['pub', '-t', 'a', '-m', 'b', '-k', '2'],
    ['pub', '-t', 'a', '-m', 'b', '-V', '4'],
    ['pub', '-t', 'a', '-m', 'b', '-P', 'x'],
    ['pub', '-t', 'a', '-m', 'b', '--will-payload', 'x'],
    ['pub', '-t', 'a', '-m', 'b', '--will-topic', 'a/#'],
    ['pub', '-t', 'a', '-m', 'b', '--cert', 'x'],
    ['pub', '-t', 'a', '-m', 'b', '--psk', '00'],
    ['pub', '-t', 'a', '-m', 'b', '--psk', '00', '--psk-identity', 'x', '--cafile', 'y'],
    ['pub', '-t', 'a', '-m', 'b', '--cafile', '/nonexistent'],
    ['pub', '-t', 'a', '-m', 'b', '--repeat', '0'],
    ['pub', '-t', 'a', '-m', 'b', '--repeat-delay', '-1'],
    ['pub', '-t', 'a', '-m', 'b', '-M', '0'],
    ['pub', '-t', 'a', '-m', 'b', '-D', 'publish', 'bogus', 'x'],
    ['pub', '-t', 'a', '-m', 'b', '-D', 'publish', 'receive-maximum', '7'],
    ['pub', '-t', 'a', '-m', 'b', '-D', 'bogus', 'receive-maximum', '7'],
    ['pub', '-t', 'a', '-m', 'b', '-D', 'publish', 'topic-alias'],
    ['pub', '-t', 'a', '-m', 'b', '-x', 'abc'],
    ['pub', '-L', 'http://x/y', '-m', 'b'],
    ['pub', '-L', 'mqtt://127.0.0.1', '-m', 'b'],
    ['pub', '-t', 'a', '-m', 'b', '--proxy', 'http://x'],
    ['sub'],
    ['sub', '-t', 'a/#/b'],
    ['sub', '-t', 'a', '-C', '0'],
    ['sub', '-t', 'a', '-W', '0'],
    ['sub', '-t', 'a', '-T', 'a/#/b'],
    ['sub', '-t', 'a', '-U', 'a/#/b'],
    ['sub', '-t', 'a', '-F', '%z'],
    ['sub', '-t', 'a', '-F', '%'],
    ['sub', '-t', 'a', '-F', '%5'],
    ['sub', '-t', 'a', '-F', 'a\\q'],
    ['sub', '-t', 'a', '-F', 'a\\'],
    ['sub', '-t', 'a', '-F', 'a@'],
    ['sub', '-t', 'a', '--random-filter', 'x'],
    ['sub', '-t', 'a', '--retained-only', '-R'],
    ['sub', '-t', 'a', '-m', 'x'],
    ['rr', '-t', 'a', '-m', 'x'],
    ['rr', '-t', 'a', '-e', 'b'],
    ['rr', '-t', 'a', '-e', 'b/#', '-m', 'x'],
  ];
  test('wrong arguments end with a sentence and the same exit code', async () => {
    for (const [tool, ...args] of wrong) {
      const what = `${tool} ${args.join(' ')}`;
      const [expected, actual] = await Promise.all([theirs(tool, args), ours(tool, args)]);
      assert.equal(actual.exitCode, expected.exitCode, `${what}: ${actual.errors}`);
      assert.match(actual.errors, /^Error: .{10,}/, what);
      assert.equal(actual.output, '', what);
    }
  });

  test('what cannot be honoured is refused, and help is help', async () => {
    for (const args of [
      ['--tls-engine', 'x'],
      ['--keyform', 'engine'],
      ['-D', 'auth', 'reason-string', 'x'],
      ['--ciphers', 'PSK'],
      ['-D', 'publish', 'topic-alias', '1', '-V', '311'],
    ]) {
      const result = await ours('pub', ['-t', 'a', '-m', 'b', ...args]);
      assert.equal(result.exitCode, 1, args.join(' '));
      assert.match(result.errors, /cannot be honoured|TLS options need TLS|needs MQTT 5.0/);
    }
    const alone = await ours('pub', ['-t', 'a', '-m', 'b', '-D', 'publish', 'subscription-identifier', '1']);
    assert.equal(alone.exitCode, 1);
    assert.match(alone.errors, /subscription-identifier property not supported for publish/);
    const help = await ours('sub', ['--help']);
    assert.equal(help.exitCode, 0);
    assert.match(help.output, /--remove-retained/);
  });
});

async function open(port: number, onMessage: (message: IncomingMessage) => void = () => {}): Promise<MqttClient> {
  const client = new MqttClient(
    {
      target: { transport: 'tcp', host: '127.0.0.1', port },
      protocolVersion: 5,
      clientId: '',
      cleanStart: true,
      keepAlive: 60,
    },
    { onMessage },
  );
  await client.connect();
  return client;
}

function describeMessage({ topicName, payload, qos, retain, properties }: IncomingMessage): string {
  const text = JSON.stringify(properties ?? {}, (_key, value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
  );
  return `${topicName} q${qos} r${retain ? 1 : 0} ${Buffer.from(payload).toString('latin1')} ${text}`;
}
