/** Bridges to and from Debian's mosquitto: the example of a router's manual, TLS, take-over, forwarding, announced state. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { at, type BridgeInput, Brokers, freePort, reaches, statusOf, Watch } from '../support/bridge-scene.js';
import { Folder } from '../support/pki.js';
import { endProcess, findProgram, Lines, within } from './support.js';

const programs = ['mosquitto', 'mosquitto_pub', 'mosquitto_sub', 'openssl'].map((name) =>
  findProgram(name, `test/interop/mosquitto-bridge: ${name}`),
);
const KEY = 'b7e87d9b2074d5889a7969985d9fc3f04e4e5b8cb57956a812b2c52b6411abd8';

describe('bridges with mosquitto', { skip: programs.includes(undefined), timeout: 180_000 }, () => {
  const folder = new Folder();
  let brokers: Brokers;
  let children: ChildProcess[];
  beforeEach(() => {
    brokers = new Brokers();
    children = [];
  });
  afterEach(async () => {
    await brokers.stop();
    for (const child of children) await endProcess(child, 'SIGKILL');
  });
  after(() => folder.remove());

  /** Starts mosquitto on the port with these lines of configuration; resolves when it runs. */
  async function mosquitto(port: number, lines: string[] = []) {
    const file = join(folder.path, `mosquitto-${port}.conf`);
    const own = ['allow_anonymous true', 'sys_interval 0', 'log_type all', `listener ${port} 127.0.0.1`];
    // Started by root it would give up root's rights, and could not read the folder of the test.
    if (process.getuid?.() === 0) own.push('user root');
    writeFileSync(file, [...own, ...lines, ''].join('\n'));
    const child = spawn('mosquitto', ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(child);
    const output = new Lines(child.stderr!);
    await output.find(/mosquitto version .* running/);
    return { child, output };
  }

  /** Lines of `mosquitto_sub -v`, once it has subscribed. */
  async function subscriber(port: number, broker: { output: Lines }, ...filters: string[]) {
    const id = `watch-${children.length}`;
    const args = ['-p', String(port), '-i', id, '-q', '2', '-v', ...filters.flatMap((filter) => ['-t', filter])];
    const child = spawn('mosquitto_sub', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await broker.output.find(new RegExp(`Sending SUBACK to ${id}`));
    return new Lines(child.stdout!);
  }

  const publish = (port: number, topic: string, payload: string, ...more: string[]) =>
    promisify(execFile)('mosquitto_pub', ['-p', String(port), '-t', topic, '-m', payload, ...more]);

  for (const protocolVersion of ['3.1', '3.1.1', '5.0'] as const) {
    it(`the example of the router, ${protocolVersion}`, async () => {
      const port = await freePort();
      const remote = await mosquitto(port);
      const local = await brokers.start({
        bridges: [
          {
            name: 'office1',
            remotes: [{ host: '127.0.0.1', port }],
            protocolVersion,
            topics: [
              { topic: 'sensor/#', direction: 'out', qos: 1, localPrefix: 'local/', remotePrefix: 'remote/office1/' },
            ],
          },
        ],
      });
      await reaches(local, 'office1', 'connected');
      const there = await subscriber(port, remote, 'remote/#');
      const here = new Watch(local, 'local/#');
      await publish(at(local)[0]!.port, 'local/sensor/temperature', '21.5', '-q', '1');
      assert.equal((await here.next()).payload, '21.5');
      assert.equal(await there.find(/./), 'remote/office1/sensor/temperature 21.5');
    });

    it(`both ways at every QoS, with the state of the bridge, ${protocolVersion}`, async () => {
      const port = await freePort();
      const remote = await mosquitto(port);
      const local = await brokers.start({
        bridges: [
          {
            name: 'both',
            remotes: [{ host: '127.0.0.1', port }],
            protocolVersion,
            topics: [
              { topic: 'out/#', direction: 'out', qos: 2 },
              { topic: 'in/#', direction: 'in', qos: 2, localPrefix: 'from/' },
              { topic: 'x/#', direction: 'both', qos: 2 },
            ],
          },
        ],
      });
      await reaches(local, 'both', 'connected');
      await remote.output.find(/Sending SUBACK to both/);
      const there = await subscriber(port, remote, '$SYS/broker/connection/#', 'out/#', 'x/#');
      await there.find(/^\$SYS\/broker\/connection\/both\/state 1$/);
      const here = new Watch(local, 'from/#', 'x/#');
      for (const qos of [0, 1, 2] as const) {
        for (let count = 0; count < 60; count++) local.publish('out/a', `${qos}-${count}`, { qos });
        await there.find(new RegExp(`^out/a ${qos}-59$`));
        await publish(port, 'in/a', `${qos}`, '-q', String(qos));
        assert.deepEqual(await here.next().then(({ topicName, payload, qos: got }) => [topicName, payload, got]), [
          'from/in/a',
          `${qos}`,
          qos,
        ]);
      }
      assert.equal(there.lines.filter((line) => line.startsWith('out/a')).length, 180);
      await publish(port, 'x/1', 'theirs', '-q', '2');
      await here.topic('x/1');
      local.publish('x/2', 'ours', { qos: 2 });
      await there.find(/^x\/2 ours$/);
      local.removeBridge('both');
      await there.find(/^\$SYS\/broker\/connection\/both\/state 0$/);
      assert.equal(there.lines.filter((line) => line.startsWith('x/')).length, 2);
    });
  }

  it('certificates: our own one shown, theirs checked, and every mistake named', async () => {
    const sh = (line: string) => execFileSync('sh', ['-c', line], { cwd: folder.path, stdio: 'ignore' });
    sh('openssl req -x509 -newkey rsa:2048 -nodes -days 30 -keyout ca.key -out ca.crt -subj "/CN=test CA"');
    for (const [name, subject] of [
      ['broker', 'localhost'],
      ['client', 'client_device_001'],
    ])
      sh(
        `openssl req -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.csr -subj "/CN=${subject}" && ` +
          `openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out ${name}.crt`,
      );
    const port = await freePort();
    const files = ['cafile ca.crt', 'certfile broker.crt', 'keyfile broker.key'];
    await mosquitto(port, [
      ...files.map((line) => line.replace(' ', ` ${folder.path}/`)),
      'require_certificate true',
      'use_identity_as_username true',
    ]);
    const own = { ca: [folder.at('ca.crt')], certificate: folder.at('client.crt'), key: folder.at('client.key') };
    const bridge = (name: string, host: string, tls: BridgeInput['tls']): BridgeInput => ({
      name,
      remotes: [{ host, port }],
      tls,
      reconnect: { minimumSeconds: 60 },
      topics: [],
    });
    const local = await brokers.start({
      bridges: [
        bridge('good', 'localhost', own),
        bridge('nameless', '127.0.0.1', own),
        bridge('unchecked', '127.0.0.1', { ...own, verifyHostname: false }),
        bridge('untrusted', 'localhost', { certificate: own.certificate, key: own.key }),
        bridge('insecure', '127.0.0.1', { ...own, ca: [], insecure: true }),
        bridge('missing', 'localhost', { ...own, ca: [folder.at('none.crt')] }),
      ],
    });
    for (const name of ['good', 'unchecked', 'insecure']) await reaches(local, name, 'connected');
    const error = async (name: string) => (await reaches(local, name, 'waiting')).lastError;
    assert.match(await error('nameless'), /certificate is for another host name/);
    assert.match(await error('untrusted'), /authority that is not trusted|self-signed/);
    assert.match(await error('missing'), /none\.crt/);
  });

  it('a pre-shared key', async () => {
    const port = await freePort();
    writeFileSync(folder.at('psk'), `site:${KEY}\n`);
    const remote = await mosquitto(port, ['psk_hint hint', `psk_file ${folder.at('psk')}`]);
    const bridge = (name: string, key: string): BridgeInput => ({
      name,
      remotes: [{ host: '127.0.0.1', port }],
      tls: { psk: { identity: 'site', key } },
      topics: [{ topic: '#', direction: 'out' }],
      reconnect: { minimumSeconds: 60 },
    });
    const local = await brokers.start({ bridges: [bridge('good', KEY), bridge('bad', '00'.repeat(32))] });
    await reaches(local, 'good', 'connected');
    await remote.output.find(/New client connected from .* as good/);
    const { lastError } = await reaches(local, 'bad', 'waiting');
    assert.doesNotMatch(lastError, /0000/);
    assert.notEqual(lastError, '');
  });

  it('the second remote takes over, and the first is gone back to', async () => {
    const [first, second] = [await freePort(), await freePort()];
    const primary = await mosquitto(first);
    const secondary = await mosquitto(second);
    const local = await brokers.start({
      bridges: [
        {
          name: 'b',
          protocolVersion: '3.1.1',
          remotes: [first, second].map((port) => ({ host: '127.0.0.1', port })),
          failbackSeconds: 1,
          topics: [{ topic: 'm/#', direction: 'out', qos: 2 }],
        },
      ],
    });
    const on = (port: number) =>
      reaches(local, 'b', ({ state, remote }) => state === 'connected' && remote.endsWith(`:${port}`));
    await on(first);
    const there = await subscriber(second, secondary, 'm/#');
    await endProcess(primary.child, 'SIGKILL');
    local.publish('m/a', 'while nobody is there', { qos: 2 });
    await on(second);
    assert.equal(await there.find(/./), 'm/a while nobody is there');
    const again = await mosquitto(first);
    const home = await subscriber(first, again, 'm/#');
    await on(first);
    local.publish('m/a', 'home', { qos: 2 });
    assert.equal(await home.find(/./), 'm/a home');
  });

  it('two mosquittos joined by a broker that nobody can connect to', async () => {
    const [left, right] = [await freePort(), await freePort()];
    const one = await mosquitto(left);
    const other = await mosquitto(right);
    const bridge = (name: string, port: number): BridgeInput => ({
      name,
      remotes: [{ host: '127.0.0.1', port }],
      protocolVersion: '3.1.1',
      topics: [{ topic: '#', direction: 'both', qos: 2 }],
    });
    const forwarder = await brokers.start({ listeners: [], bridges: [bridge('left', left), bridge('right', right)] });
    assert.equal(forwarder.listeners.length, 0);
    await one.output.find(/Sending SUBACK to left/);
    await other.output.find(/Sending SUBACK to right/);
    const atLeft = await subscriber(left, one, 'm/#');
    const atRight = await subscriber(right, other, 'm/#');
    await publish(left, 'm/1', 'to the right', '-q', '2');
    assert.equal(await atRight.find(/./), 'm/1 to the right');
    await publish(right, 'm/2', 'to the left', '-q', '1');
    await atLeft.find(/^m\/2 to the left$/);
    await atRight.find(/^m\/2 to the left$/);
    assert.deepEqual([atLeft.lines.length, atRight.lines.length], [2, 2], 'nothing twice');
  });

  for (const version of ['mqttv311', 'mqttv50'])
    it(`mosquitto bridges to us, ${version}`, async () => {
      const local = await brokers.start();
      const port = await freePort();
      const remote = await mosquitto(port, [
        'connection us',
        `address 127.0.0.1:${at(local)[0]!.port}`,
        `bridge_protocol_version ${version}`,
        'remote_clientid their-bridge',
        'topic # both 2',
      ]);
      const state = new Watch(local, '$SYS/broker/connection/their-bridge/state');
      await within(
        (async () => {
          while ((await state.next()).payload !== '1');
        })(),
        'the state of the bridge',
      );
      await remote.output.find(/Received SUBACK from local|Received SUBACK/);
      const here = new Watch(local, 'm/#');
      const there = await subscriber(port, remote, 'm/#');
      await publish(port, 'm/1', 'theirs', '-q', '2');
      assert.equal((await here.next()).payload, 'theirs');
      local.publish('m/2', 'ours', { qos: 2 });
      await there.find(/^m\/2 ours$/);
      assert.equal(there.lines.length, 2, 'nothing comes back');
      assert.equal(statusOf(local, 'us'), undefined);
    });
});
