/** Debian's mosquitto_pub, mosquitto_sub and mosquitto_rr: every version, against the library and against the command. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import mqtt from 'mqtt';
import {
  brokerProcess,
  embeddedBroker,
  endProcess,
  findProgram,
  Lines,
  type RunningBroker,
  within,
} from './support.js';

const found = ['mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr', 'stdbuf'].map((program) =>
  findProgram(program, `test/interop/mosquitto-tools: ${program === 'stdbuf' ? 'coreutils' : 'mosquitto-clients'}`),
);

const brokers = [
  { where: 'in this process', start: () => embeddedBroker() },
  { where: 'bin/dunlin', start: () => brokerProcess() },
];
const versions = ['31', '311', '5'] as const;

for (const { where, start } of brokers)
  describe(`mosquitto's tools, ${where}`, { skip: found.includes(undefined), timeout: 240_000 }, () => {
    let broker: RunningBroker;
    const running = new Set<Subscriber>();
    before(async () => {
      broker = await start();
    });
    after(async () => {
      for (const subscriber of running) await subscriber.end('SIGKILL');
      await broker.stop();
    });

    const publish = (version: string, ...args: string[]) =>
      run('mosquitto_pub', ['-h', '127.0.0.1', '-p', `${broker.port}`, '-V', version, ...args]);
    const subscribe = async (version: string, ...args: string[]) => {
      const subscriber = new Subscriber(['-h', '127.0.0.1', '-p', `${broker.port}`, '-V', version, ...args]);
      running.add(subscriber);
      await subscriber.output.find(/^Subscribed \(mid: /);
      return subscriber;
    };

    it('prints what the two commands of the README say', async () => {
      const subscriber = await subscribe('311', '-t', 'site/#', '-v', '-d', '-C', '1');
      await run('mosquitto_pub', ['-p', `${broker.port}`, '-t', 'site/zone/line/device/temp', '-m', '21.5']);
      assert.equal(await subscriber.exited(), 0);
      assert.ok(subscriber.output.lines.includes('site/zone/line/device/temp 21.5'));
    });

    for (const version of versions) {
      for (const qos of ['0', '1', '2'])
        it(`-V ${version}: QoS ${qos}`, async () => {
          const topic = `${version}/qos/${qos}`;
          const subscriber = await subscribe(version, '-t', `${version}/qos/#`, '-q', '2', '-C', '20', ...format);
          const lines = Array.from({ length: 20 }, (_, number) => `line ${number}`);
          await publish(version, '-t', topic, '-q', qos, '-l', '<', lines.join('\n'));
          assert.equal(await subscriber.exited(), 0);
          assert.deepEqual(
            subscriber.messages,
            lines.map((line) => `${topic} ${qos} 0 ${line}`),
          );
        });

      it(`-V ${version}: retained`, async () => {
        const topic = `${version}/kept`;
        await publish(version, '-t', topic, '-q', '1', '-r', '-m', 'old');
        await publish(version, '-t', topic, '-q', '1', '-r', '-m', 'new');
        const later = await subscribe(version, '-t', `${version}/kept/#`, '-q', '1', '-C', '1', ...format);
        await later.exited();
        assert.deepEqual(later.messages, [`${topic} 1 1 new`]);
        await publish(version, '-t', topic, '-q', '1', '-r', '-n');
        const cleared = await subscribe(version, '-t', `${version}/kept/#`, '-q', '1', '-C', '1', ...format);
        await publish(version, '-t', topic, '-q', '1', '-m', 'marker');
        await cleared.exited();
        assert.deepEqual(cleared.messages, [`${topic} 1 0 marker`]);
      });

      it(`-V ${version}: will`, async () => {
        // mosquitto_sub says goodbye with 0x04 in 5.0, which asks for the will; in 3.x goodbye discards it.
        const expected = [
          ...(version === '5' ? [`${version}/will/polite 2 0 gone`] : []),
          `${version}/will/lost 2 0 gone`,
          `${version}/will/end 1 0 end`,
        ];
        const heir = await subscribe(
          version,
          ...['-t', `${version}/will/#`, '-q', '2', '-C', `${expected.length}`],
          ...format,
        );
        const will = (name: string) => [
          ...['-t', `${version}/nothing`, '--will-topic', `${version}/will/${name}`],
          ...['--will-payload', 'gone', '--will-qos', '2', '-d'],
        ];
        const polite = await subscribe(version, ...will('polite'));
        await polite.end('SIGTERM');
        const lost = await subscribe(version, ...will('lost'));
        await lost.end('SIGKILL');
        await heir.output.find(/\/lost 2 0 gone$/);
        await publish(version, '-t', `${version}/will/end`, '-q', '1', '-m', 'end');
        await heir.exited();
        assert.deepEqual(heir.messages, expected);
      });

      it(`-V ${version}: a resumed session`, async () => {
        const kept = ['-i', `stay${version}`, '-c', '-t', `${version}/stay/+`, '-q', '2'];
        if (version === '5') kept.push('-x', '600');
        const first = await subscribe(version, ...kept, '-E', '-d');
        assert.equal(await first.exited(), 0);
        await publish(version, '-t', `${version}/stay/0`, '-q', '0', '-m', 'not kept');
        await publish(version, '-t', `${version}/stay/1`, '-q', '1', '-m', 'one');
        await publish(version, '-t', `${version}/stay/2`, '-q', '2', '-m', 'two');
        await publish(version, '-t', `${version}/stay/1`, '-q', '1', '-m', 'three');
        const second = await subscribe(version, ...kept, '-C', '3', ...format);
        await second.exited();
        assert.deepEqual(second.messages.sort(), [
          `${version}/stay/1 1 0 one`,
          `${version}/stay/1 1 0 three`,
          `${version}/stay/2 2 0 two`,
        ]);
      });

      it(`-V ${version}: a shared subscription`, async () => {
        const member = () => subscribe(version, '-t', `$share/g/${version}/job`, '-q', '1', '-C', '10', ...format);
        const members = [await member(), await member()];
        const lines = Array.from({ length: 20 }, (_, number) => `${number}`);
        await publish(version, '-t', `${version}/job`, '-q', '1', '-l', '<', lines.join('\n'));
        for (const one of members) await one.exited();
        assert.deepEqual(
          members
            .flatMap(({ messages }) => messages.map((message) => Number(message.split(' ')[3])))
            .sort((a, b) => a - b),
          lines.map(Number),
        );
      });
    }

    it('-V 5: request and response', async () => {
      const responder = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, { protocolVersion: 5 });
      try {
        await responder.subscribeAsync('ask/time', { qos: 1 });
        responder.on('message', (_topic, payload, { properties }) => {
          responder.publish(properties!.responseTopic!, `answer to ${payload}`, {
            qos: 1,
            properties: { correlationData: properties!.correlationData! },
          });
        });
        const { stdout } = await run('mosquitto_rr', [
          ...[
            '-h',
            '127.0.0.1',
            '-p',
            `${broker.port}`,
            '-V',
            '5',
            '-q',
            '1',
            '-D',
            'publish',
            'correlation-data',
            'n1',
          ],
          ...['-t', 'ask/time', '-e', 'answers/1', '-m', 'now', '-F', '%t %D %p'],
        ]);
        assert.equal(stdout, 'answers/1 n1 answer to now\n');
      } finally {
        await responder.endAsync();
      }
    });
  });

/** Messages as `> topic qos retain payload`, apart from the lines of `-d`, which tell that it is subscribed. */
const format = ['-d', '-F', '> %t %q %r %p'];

class Subscriber {
  readonly output: Lines;
  private readonly child: ChildProcess;
  private readonly gone: Promise<number | null>;

  constructor(args: string[]) {
    // Line by line: its own buffer keeps what `-d` says until a message comes.
    this.child = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.output = new Lines(this.child.stdout!);
    this.gone = once(this.child, 'close').then(([code]) => code as number | null);
  }

  get messages(): string[] {
    return this.output.lines.filter((line) => line.startsWith('> ')).map((line) => line.slice(2));
  }

  exited(): Promise<number | null> {
    return within(this.gone, 'mosquitto_sub to end');
  }

  end(signal: NodeJS.Signals): Promise<void> {
    return endProcess(this.child, signal);
  }
}

/** Runs a program to its end; what follows `<` is its standard input. */
function run(program: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  const mark = args.indexOf('<');
  const input = mark < 0 ? undefined : args[mark + 1];
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      mark < 0 ? args : args.slice(0, mark),
      { timeout: 60_000 },
      (error, stdout, stderr) => {
        if (error) reject(new Error(`${program} ${args.join(' ')}: ${error.message}`));
        else resolve({ stdout, stderr });
      },
    );
    if (input !== undefined) child.stdin!.end(`${input}\n`);
  });
}
