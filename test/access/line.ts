/** What happens to the line between the broker and a real server: it is closed while it idles, or goes silent as behind a firewall that forgot it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { it } from 'node:test';
import type { ConfigInput } from '../../src/index.js';
import { login, loginCode, ok, serverUnavailable, sourceOf, withBroker } from './login.js';

/** Stands between the broker and the server on `target`. */
class Line {
  readonly open = new Set<Socket>();
  /** Connections that are made from now on get no answer. */
  mute = false;
  private readonly silent = new Set<Socket>();
  private readonly server: Server;

  constructor(target: number) {
    this.server = createServer((socket) => {
      const behind = connect(target, '127.0.0.1');
      this.open.add(socket);
      if (this.mute) this.silent.add(socket);
      socket.on('data', (data) => this.silent.has(socket) || behind.write(data));
      behind.on('data', (data) => this.silent.has(socket) || socket.write(data));
      behind.on('error', () => {}).on('close', () => socket.destroy());
      socket
        .on('error', () => {})
        .on('close', () => {
          this.open.delete(socket);
          behind.destroy();
        });
    }).listen(0, '127.0.0.1');
  }

  async ready(): Promise<number> {
    if (!this.server.listening) await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  hush(): void {
    for (const socket of this.open) this.silent.add(socket);
  }

  async hangUp(): Promise<void> {
    const closed = [...this.open].map((socket) => once(socket, 'close'));
    for (const socket of this.open) socket.end();
    await Promise.all(closed);
  }

  stop(): void {
    this.server.close();
    for (const socket of this.open) socket.destroy();
  }
}

type Source = NonNullable<ConfigInput['authentication']>[number];

/** Tests of a source that connects to `target` through a line: `source` makes its settings for a port. */
export function testLine(
  target: () => number,
  source: (port: number) => Source,
  [username, password]: readonly [string, string],
): void {
  const withLine = async (work: (line: Line, config: ConfigInput) => Promise<void>): Promise<void> => {
    const line = new Line(target());
    try {
      const lone = { timeoutMs: 1000, requestsMax: 1, cacheSeconds: 0, refusedCacheSeconds: 0 };
      await work(line, { authentication: [{ ...source(await line.ready()), ...lone } as Source] });
    } finally {
      line.stop();
    }
  };
  const eventually = async (what: () => boolean | Promise<boolean>, why: () => string | undefined): Promise<void> => {
    const deadline = Date.now() + 30_000;
    while (!(await what())) {
      assert.ok(Date.now() < deadline, why());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  it('asks over another connection where the server closed the last one', () =>
    withLine((line, config) =>
      withBroker(config, async (scene) => {
        for (let round = 0; round < 5; round++) {
          assert.equal(await loginCode(scene, username, password), ok);
          await line.hangUp();
          // The other end hears of it in its own time.
          await loginCode(scene, undefined);
        }
        assert.equal(sourceOf(scene.broker, scene.broker.status().access.authentication[0]!.name).failures, 0);
      }),
    ));

  it('recovers when connections have gone silent, those among them that are being made', () =>
    withLine((line, config) =>
      withBroker(config, async (scene) => {
        const recovered = () =>
          eventually(
            async () => (await loginCode(scene, username, password)) === ok,
            () => scene.broker.status().access.authentication[0]!.lastError,
          );
        await recovered();
        line.hush();
        assert.equal(await loginCode(scene, username, password), serverUnavailable);
        await recovered();
        line.mute = true;
        line.hush();
        assert.equal(await loginCode(scene, username, password), serverUnavailable);
        const { failures } = scene.broker.status().access.authentication[0]!;
        await eventually(
          async () => {
            await loginCode(scene, username, password);
            return scene.broker.status().access.authentication[0]!.failures > failures;
          },
          () => 'it is not tried again',
        );
        line.mute = false;
        await recovered();
      }),
    ));

  it('leaves no connection behind when the broker stops while logins wait', () =>
    withLine(async (line, config) => {
      await withBroker(config, async (scene) => {
        line.mute = true;
        const logins = Array.from({ length: 5 }, () => login(scene, username, password).catch(() => undefined));
        await eventually(
          () => line.open.size > 0,
          () => 'it does not connect',
        );
        await scene.broker.stop();
        await Promise.all(logins);
      });
      let made = 0;
      await eventually(
        () => {
          made = Math.max(made, line.open.size);
          return line.open.size === 0;
        },
        () => `${line.open.size} are open`,
      );
      assert.ok(made <= 1, `${made} were open`);
    }));
}
