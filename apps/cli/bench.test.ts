import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/support/free-port.js';
import { runBench } from './bench.js';
import { benchHelp, KINDS, parseBenchArguments } from './bench-options.js';
import type { LoadReport, Stage } from './load/index.js';

let broker: ChildProcess;
let port: string;

before(async () => {
  port = String(await freePort());
  const script = fileURLToPath(new URL('../../bench/peers/aedes-server.js', import.meta.url));
  broker = spawn(process.execPath, [script, port], { stdio: 'ignore' });
  while (!(await answers(Number(port)))) await sleep(50);
});
after(() => {
  broker.kill();
});

function answers(to: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(to, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Runs the command with its output caught. */
async function bench(...args: string[]): Promise<{ code: number; out: string; said: string }> {
  let out = '';
  let said = '';
  const { stdout, stderr } = process;
  const writeOut = stdout.write;
  const writeErr = stderr.write;
  stdout.write = ((data: string | Uint8Array) => {
    // The test runner writes its own protocol, as bytes: only text is the command's.
    if (typeof data !== 'string') return writeOut.call(stdout, data);
    out += data;
    return true;
  }) as typeof writeOut;
  stderr.write = ((data: string | Uint8Array) => {
    said += String(data);
    return true;
  }) as typeof writeErr;
  try {
    const code = await runBench(args);
    return { code, out, said };
  } finally {
    stdout.write = writeOut;
    stderr.write = writeErr;
  }
}

async function stages(...args: string[]): Promise<(LoadReport & { name: string })[]> {
  const { code, out, said } = await bench(...args, '-p', port, '--json');
  assert.equal(code, 0, said);
  const line = out.split('\n').find((text) => text.startsWith('{"kind"'));
  return (JSON.parse(line ?? '') as { stages: (Stage['report'] & { name: string })[] }).stages;
}

const counted = ['-n', '400', '-d', '60'];

for (const [name, args, deliveries] of [
  ['pairs at QoS 0', ['pair', '-c', '4'], 400],
  ['pairs at QoS 1', ['pair', '-c', '4', '-q', '1'], 400],
  ['pairs at QoS 2', ['pair', '-c', '4', '-q', '2', '--inflight', '3'], 400],
  ['pairs over two threads', ['pair', '-c', '4', '-q', '1', '--threads', '2'], 400],
  ['fan-out', ['fan-out', '-c', '5'], 2000],
  ['fan-out over two threads', ['fan-out', '-c', '5', '--threads', '2'], 2000],
  ['fan-in', ['fan-in', '-c', '5'], 400],
  ['wildcard filters', ['wildcard', '-c', '3', '--filters', '7', '--publishers', '2'], 400],
  ['large payloads', ['pair', '-c', '2', '-s', '100000'], 400],
] as const)
  test(`${name}: every message counted once`, async () => {
    const [report] = await stages(...args, ...counted);
    assert.equal(report?.sent, 400);
    assert.equal(report.received, deliveries);
    assert.equal(report.expected, deliveries);
    assert.equal(report.lost, 0);
    assert.equal(report.duplicates, 0);
    assert.equal(report.outOfOrder, 0);
    assert.equal(report.latency.count, deliveries);
    assert.ok(report.latency.p50 > 0 && report.latency.max >= report.latency.p99);
  });

test('an open loop keeps to its rate', async () => {
  const [report] = await stages('pair', '-c', '2', '--interval', '10', '-n', '40', '-d', '60');
  assert.equal(report?.received, 40);
  assert.ok((report?.seconds ?? 0) >= 0.19, 'forty messages at two hundred a second');
});

test('sub counts what another run has published, and tells its latency', async () => {
  const [published] = await stages('pub', '-c', '2', '-t', 'meet/%i', '-q', '1', '--retain', ...counted);
  assert.equal(published?.acknowledged, 400);
  const [received] = await stages('sub', '-c', '3', '-t', 'meet/#', '-n', '6', '-d', '60');
  assert.equal(received?.received, 6);
  assert.equal(received?.latency.count, 6);
});

test('connections are made and held', async () => {
  const [report] = await stages('conn', '-c', '50', '-d', '0.2');
  assert.equal(report?.setup.connections, 50);
  assert.equal(report.closed, 0);
});

test('idle clients outlive their keep alive', async () => {
  // They ping every second and may be late by two.
  const [report] = await stages('conn', '-c', '3', '-k', '2', '-d', '4.5');
  assert.equal(report?.closed, 0);
});

test('retained messages are filled, read and cleared again', async () => {
  for (let round = 0; round < 2; round++) {
    const [fill, read] = await stages('retained', '-n', '300', '-c', '2');
    assert.equal(fill?.acknowledged, 300);
    assert.equal(read?.received, 600);
    assert.equal(read?.lost, 0);
  }
  const [rest] = await stages('sub', '-c', '1', '-t', 'bench/each/#', '-d', '0.3', '--warm-up', '0');
  assert.equal(rest?.received, 0);
});

test('offline sessions get what was queued for them', async () => {
  const reports = await stages('offline', '-n', '50', '-c', '3');
  assert.deepEqual(
    reports.map(({ name }) => name),
    ['leave', 'fill', 'return'],
  );
  assert.equal(reports[2]?.received, 150);
  assert.equal(reports[2]?.lost, 0);
});

test('a person gets a table', async () => {
  const { code, out } = await bench('pair', '-p', port, '-c', '2', ...counted);
  assert.equal(code, 0);
  assert.match(out, /2 publishers to 2 subscribers, QoS 0, 64 bytes, MQTT 3\.1\.1, 127\.0\.0\.1:/);
  assert.match(out, /lost +0 of 400 \(0\.000 %\)/);
});

test('a broker that is not there: exit code 1 and one clear line', async () => {
  const closed = String(await freePort());
  const { code, said } = await bench('pub', '-p', closed);
  assert.equal(code, 1);
  assert.equal(said, `dunlin bench: cannot connect: nothing listens on 127.0.0.1:${closed} (connection refused)\n`);
});

test('a broker that refuses says why', async () => {
  const { code, said } = await bench('pub', '-p', port, '-V', '5');
  assert.equal(code, 1);
  assert.match(said, /cannot connect: it refused the connection: code 0x01 \(unacceptable protocol version\)/);
});

test('mistakes in the command: exit code 2, and the mistake is named', async () => {
  for (const [args, expected] of [
    [['nothing'], /"nothing" is not a kind of bench; there are pub, sub/],
    [['pub', '--nothing'], /Unknown option '--nothing'/],
    [['pub', '-d', 'long'], /--duration is "long", but must be a number/],
    [['conn', '--rate', '5'], /--rate does not go with conn, only with pub/],
    [['pub', '-r', '5', '-i', '5'], /--rate and --interval/],
    [['pub', '-V', '6'], /--mqtt-version is "6", but must be 3\.1\.1 or 5/],
    [['pub', '-h', 'example.org'], /example\.org is not on this machine; --allow-remote/],
    [['pub', '-q', '3'], /QoS is 3/],
    [['pub', '-t', 'a/+'], /topic name a\/\+ has a wildcard/],
    [['pub', '--watch', 'me'], /--watch is "me"/],
  ] as [string[], RegExp][]) {
    const { code, said } = await bench(...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(said, expected);
  }
});

test('help names every kind; every kind makes a plan without further options', () => {
  for (const kind of Object.keys(KINDS)) {
    assert.match(benchHelp(), new RegExp(`^ {2}${kind} `, 'm'));
    assert.equal(parseBenchArguments([kind])?.kind, kind);
  }
  assert.equal(parseBenchArguments(['--help']), undefined);
  assert.equal(parseBenchArguments(['pub', '--help']), undefined);
});
