/** Bridges with several remotes of which one takes connections that come to nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { at, Brokers, freePort, portOf, reaches, Watch } from '../support/bridge-scene.js';

const topics = [{ topic: 'm/#', direction: 'out' as const, qos: 1 }];
const protocolVersion = '3.1.1' as const;

/** What a remote says to CONNECT before it closes the connection. */
const words = {
  'closes at once': undefined,
  'refuses with CONNACK': Buffer.from([0x20, 2, 0, 5]),
  'accepts with CONNACK and closes then': Buffer.from([0x20, 2, 0, 0]),
};

/** A remote whose connections come to nothing, and when they came. */
class BadRemote {
  readonly times: number[] = [];
  private wake = () => {};

  private constructor(
    private readonly server: Server,
    readonly port: number,
    word: Buffer | undefined,
  ) {
    server.on('connection', (socket: Socket) => {
      this.times.push(performance.now());
      this.wake();
      socket.on('error', () => {});
      if (word === undefined) socket.resume().end();
      else
        socket.once('data', () => {
          socket.write(word);
          setTimeout(() => socket.end(), 100); // later than CONNACK, so that the bridge takes the connection for one
        });
    });
  }

  static async listen(word: Buffer | undefined): Promise<BadRemote> {
    const port = await freePort();
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new BadRemote(server, port, word);
  }

  get remotes() {
    return [{ host: '127.0.0.1', port: this.port }];
  }

  async came(count: number): Promise<void> {
    while (this.times.length < count)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
  }

  async close(): Promise<void> {
    if (this.server.listening) await once(this.server.close(), 'close');
  }
}

describe('a bridge with several remotes', { timeout: 60_000 }, () => {
  let brokers: Brokers;
  let bad: BadRemote[];
  beforeEach(() => {
    brokers = new Brokers();
    bad = [];
  });
  afterEach(async () => {
    await brokers.stop();
    for (const remote of bad) await remote.close();
  });
  async function badRemote(word: Buffer | undefined) {
    const remote = await BadRemote.listen(word);
    bad.push(remote);
    return remote;
  }

  for (const [what, word] of Object.entries(words))
    it(`uses the next one while the first ${what}, comes back when it can be used, and loses nothing`, async () => {
      const primary = await badRemote(word);
      const secondary = await brokers.start();
      const there = new Watch(secondary, 'm/#');
      const remotes = [...primary.remotes, ...at(secondary)];
      const local = await brokers.start({
        bridges: [{ name: 'b', remotes, protocolVersion, failbackSeconds: 1, topics }],
      });
      const isAt =
        (port: number) =>
        ({ state, remote }: { state: string; remote: string }) =>
          state === 'connected' && remote.endsWith(`:${port}`);
      await reaches(local, 'b', isAt(portOf(secondary)));
      let sent = 0;
      const publish = () => local.publish('m/a', `${sent++}`, { qos: 1 });
      const timer = setInterval(publish, 5);
      try {
        const before = primary.times.length;
        await primary.came(before + 1); // it is tried again
        await reaches(local, 'b', isAt(portOf(secondary)));
        await primary.close();
        const mended = await brokers.start({ listeners: [{ name: 'test', port: primary.port }] });
        const home = new Watch(mended, 'm/#');
        await reaches(local, 'b', isAt(primary.port));
        clearInterval(timer);
        local.publish('m/a', 'end', { qos: 1 });
        const seen = new Set<string>();
        for (let message = await home.next(); message.payload !== 'end'; message = await home.next())
          seen.add(message.payload);
        for (const { payload } of there.messages) seen.add(payload);
        assert.equal(seen.size, sent);
      } finally {
        clearInterval(timer);
      }
    });

  it('tries a first one whose connections do not last ever more seldom', async () => {
    const primary = await badRemote(words['accepts with CONNACK and closes then']);
    const secondary = await brokers.start();
    const remotes = [...primary.remotes, ...at(secondary)];
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes, protocolVersion, tryPrivate: false, failbackSeconds: 1, topics }],
    });
    await reaches(local, 'b', 'connected');
    await primary.came(3);
    const [first, second, third] = primary.times as [number, number, number];
    // timers may be a millisecond early
    assert.ok(second - first > 1990, `${second - first} ms`);
    assert.ok(third - second > 3990, `${third - second} ms`);
  });

  it('waits after all of them, also when each takes the connection at first', async () => {
    const remotes = [await badRemote(words['accepts with CONNACK and closes then'])];
    remotes.push(await badRemote(words['accepts with CONNACK and closes then']));
    await brokers.start({
      bridges: [
        {
          name: 'b',
          remotes: remotes.flatMap((remote) => remote.remotes),
          protocolVersion,
          tryPrivate: false,
          topics,
          reconnect: { minimumSeconds: 1, maximumSeconds: 1 },
        },
      ],
    });
    const [one, other] = remotes as [BadRemote, BadRemote];
    await one.came(3);
    await other.came(2);
    for (const { times } of remotes)
      for (const [index, time] of times.entries())
        if (index > 0) assert.ok(time - times[index - 1]! > 990, `${time - times[index - 1]!} ms`);
  });
});
