/** What a bridge between two Dunlins forwards, and what it does not. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { at, type BridgeInput, Brokers, reaches, statusOf, Watch } from '../support/bridge-scene.js';

for (const protocolVersion of ['3.1', '3.1.1', '5.0'] as const)
  describe(`a bridge of MQTT ${protocolVersion}`, () => {
    let brokers: Brokers;
    beforeEach(() => {
      brokers = new Brokers();
    });
    afterEach(() => brokers.stop());

    /** A remote, and a broker with a bridge to it that is connected. */
    async function pair(bridge: Partial<BridgeInput>) {
      const remote = await brokers.start();
      const local = await brokers.start({ bridges: [{ name: 'b', remotes: at(remote), protocolVersion, ...bridge }] });
      await reaches(local, 'b', 'connected');
      return { remote, local };
    }
    /** The bridge has subscribed at the remote: what is published there from now on comes over. */
    async function settled(local: Awaited<ReturnType<Brokers['start']>>, remote: typeof local, filter: string) {
      const watch = new Watch(local, filter);
      for (;;) {
        remote.publish(filter, 'settled', { qos: 0 });
        const seen = await Promise.race([watch.next(), new Promise<undefined>((go) => setTimeout(go, 20, undefined))]);
        if (seen !== undefined) return;
      }
    }

    for (const qos of [0, 1, 2] as const)
      it(`sends out at QoS ${qos}, renamed, and delivers here as well`, async () => {
        const { remote, local } = await pair({
          topics: [
            { topic: 'sensor/#', direction: 'out', qos, localPrefix: 'local/', remotePrefix: 'remote/office1/' },
          ],
        });
        const there = new Watch(remote, 'remote/#', 'local/#');
        const here = new Watch(local, 'local/#', 'remote/#');
        for (let count = 0; count < 100; count++)
          local.publish('local/sensor/temperature', `${count}`, { qos: qos as 0 | 1 | 2 });
        local.publish('local/other', 'not a row');
        local.publish('local/sensor/end', 'end', { qos });
        const seen = await there.take(101);
        assert.deepEqual(
          seen.slice(0, 100).map(({ topicName, payload, qos: got }) => `${topicName} ${payload} ${got}`),
          Array.from({ length: 100 }, (_, count) => `remote/office1/sensor/temperature ${count} ${qos}`),
        );
        assert.equal(seen[100]!.topicName, 'remote/office1/sensor/end');
        assert.equal((await here.take(102))[100]!.topicName, 'local/other');
        assert.equal(there.messages.length, 0);
      });

    for (const qos of [0, 1, 2] as const)
      it(`takes in at QoS ${qos}, renamed`, async () => {
        const { remote, local } = await pair({
          topics: [
            { topic: '#', direction: 'in', qos, localPrefix: 'site/', remotePrefix: 'cmd/' },
            { direction: 'in', localPrefix: 'ready', remotePrefix: 'ready' },
          ],
        });
        await settled(local, remote, 'ready');
        const here = new Watch(local, 'site/#', 'cmd/#');
        for (let count = 0; count < 100; count++) remote.publish('cmd/a/b', `${count}`, { qos: 2 });
        const seen = await here.take(100);
        assert.deepEqual(
          seen.map(({ topicName, payload, qos: got }) => `${topicName} ${payload} ${got}`),
          Array.from({ length: 100 }, (_, count) => `site/a/b ${count} ${qos}`),
        );
      });

    it('does both without sending back what came', async () => {
      const { remote, local } = await pair({ topics: [{ topic: 'x/#', direction: 'both', qos: 2 }] });
      await settled(local, remote, 'x/ready');
      const here = new Watch(local, 'x/#');
      const there = new Watch(remote, 'x/#');
      local.publish('x/1', 'from here', { qos: 1 });
      remote.publish('x/2', 'from there', { qos: 2 });
      local.publish('x/3', 'end of here', { qos: 1 });
      remote.publish('x/4', 'end of there', { qos: 2 });
      await here.topic('x/4');
      await there.topic('x/3');
      // One more round: what would have come back has come by now.
      local.publish('x/5', '', { qos: 2 });
      await there.topic('x/5');
      remote.publish('x/6', '', { qos: 2 });
      await here.topic('x/6');
      const { messagesSent, messagesReceived } = statusOf(local, 'b');
      assert.equal(messagesSent, 3);
      assert.ok(messagesReceived >= 3);
      assert.deepEqual(here.messages, []);
      assert.deepEqual(
        there.messages.map(({ topicName }) => topicName),
        ['x/6'],
      );
    });

    it('sends stored messages as such once it is connected, and keeps the flag of live ones', async () => {
      const remote = await brokers.start();
      const local = await brokers.start();
      for (let count = 0; count < 50; count++) local.publish(`s/${count}`, `v${count}`, { qos: 1, retain: true });
      local.addBridge({
        name: 'b',
        remotes: at(remote),
        protocolVersion,
        topics: [{ topic: 's/#', direction: 'out', qos: 1, remotePrefix: 'up/' }],
      });
      await new Watch(remote, 'up/#').take(50);
      const stored = await new Watch(remote, 'up/#').take(50);
      assert.ok(stored.every(({ retain }) => retain));
      const live = new Watch(remote, 'up/s/live');
      local.publish('s/live', 'x', { qos: 1, retain: true });
      await live.next();
      assert.equal((await new Watch(remote, 'up/s/live').next()).retain, true);
    });

    it('sends no stored messages where retained messages are not forwarded', async () => {
      const remote = await brokers.start();
      const local = await brokers.start();
      local.publish('s/old', 'x', { retain: true });
      local.addBridge({
        name: 'b',
        remotes: at(remote),
        protocolVersion,
        outgoingRetain: false,
        topics: [{ topic: 's/#', direction: 'out', qos: 1 }],
      });
      await reaches(local, 'b', 'connected');
      const there = new Watch(remote, 's/#');
      local.publish('s/new', 'y', { qos: 1, retain: true });
      assert.deepEqual(await there.next().then(({ topicName }) => topicName), 's/new');
      const [kept] = [...new Watch(remote, 's/#').messages];
      assert.equal(kept, undefined);
    });

    it('spreads topics over several connections and keeps the order within each', async () => {
      const { remote, local } = await pair({
        connections: 3,
        topics: [{ topic: 'o/#', direction: 'out', qos: 1 }],
      });
      assert.equal(remote.clients().length, 3);
      const there = new Watch(remote, 'o/#');
      for (let count = 0; count < 50; count++)
        for (let topic = 0; topic < 20; topic++) local.publish(`o/${topic}`, `${count}`, { qos: 1 });
      const seen = await there.take(1000);
      for (let topic = 0; topic < 20; topic++)
        assert.deepEqual(
          seen.filter(({ topicName }) => topicName === `o/${topic}`).map(({ payload }) => Number(payload)),
          Array.from({ length: 50 }, (_, count) => count),
        );
    });
  });

describe('a bridge of MQTT 5.0', () => {
  let brokers: Brokers;
  beforeEach(() => {
    brokers = new Brokers();
  });
  afterEach(() => brokers.stop());

  const properties = {
    payloadFormatIndicator: 1,
    contentType: 'text/plain',
    responseTopic: 'answers/1',
    correlationData: Buffer.from('c'),
    userProperties: [
      ['unit', 'K'],
      ['unit', 'C'],
    ] as [string, string][],
    messageExpiryInterval: 1000,
  };

  it('keeps the properties of messages', async () => {
    const remote = await brokers.start();
    const local = await brokers.start({
      bridges: [{ name: 'b', remotes: at(remote), hopsMax: 0, topics: [{ topic: '#', direction: 'out', qos: 1 }] }],
    });
    await reaches(local, 'b', 'connected');
    const there = new Watch(remote, 'p/#');
    for (const qos of [0, 1] as const) {
      local.publish('p/q', '1', { qos, properties });
      const seen = await there.next();
      const { messageExpiryInterval, correlationData, ...rest } = seen.properties as typeof properties;
      assert.ok(messageExpiryInterval === undefined || messageExpiryInterval <= 1000);
      assert.equal(Buffer.from(correlationData).toString(), 'c');
      const { messageExpiryInterval: _expiry, correlationData: _data, ...expected } = properties;
      assert.deepEqual(rest, expected);
    }
  });

  it('uses topic aliases where they are allowed', async () => {
    const remote = await brokers.start();
    const local = await brokers.start({
      bridges: [
        {
          name: 'b',
          remotes: at(remote),
          topicAliasMaximum: 5,
          topics: [
            { topic: 'a/#', direction: 'out', qos: 1, remotePrefix: 'long/prefix/of/the/remote/' },
            { topic: 'c/#', direction: 'in', qos: 1 },
          ],
        },
      ],
    });
    await reaches(local, 'b', 'connected');
    const there = new Watch(remote, 'long/#');
    for (let count = 0; count < 60; count++)
      local.publish(`a/${count % 12}`, `${count}`, { qos: (count % 2) as 0 | 1 });
    const seen = await there.take(60);
    for (const { topicName, payload } of seen)
      assert.equal(topicName, `long/prefix/of/the/remote/a/${Number(payload) % 12}`);
    const here = new Watch(local, 'c/#');
    for (let count = 0; count < 60; count++) remote.publish(`c/${count % 12}`, `${count}`, { qos: 1 });
    for (const { topicName, payload } of await here.take(60)) assert.equal(topicName, `c/${Number(payload) % 12}`);
  });

  it('ends what goes round a ring of brokers', async () => {
    const a = await brokers.start();
    const b = await brokers.start();
    const c = await brokers.start();
    const ring = (to: typeof a) => ({
      name: 'next',
      remotes: at(to),
      hopsMax: 6,
      topics: [{ topic: 'ring', direction: 'out' as const, qos: 1 }],
    });
    a.addBridge({ ...ring(b), clientId: 'a' });
    b.addBridge({ ...ring(c), clientId: 'b' });
    c.addBridge({ ...ring(a), clientId: 'c' });
    await Promise.all([a, b, c].map((broker) => reaches(broker, 'next', 'connected')));
    const seen = new Watch(a, 'ring');
    const last = new Promise<void>((resolve) => {
      let copies = 0;
      for (const broker of [a, b, c])
        broker.subscribe('ring', () => {
          // Once here, and once after each of six bridges.
          if (++copies === 7) resolve();
        });
    });
    a.publish('ring', 'x', { qos: 1 });
    await last;
    const copies = await seen.take(3);
    assert.deepEqual(
      copies.map(({ properties: found }) => (found as { userProperties?: unknown } | undefined)?.userProperties),
      [undefined, [['dunlin-hops', '3']], [['dunlin-hops', '6']]],
    );
    assert.equal(statusOf(a, 'next').messagesTooFar, 1);
  });

  it('ends what goes round a ring of brokers that each fetch from the next', async () => {
    const ring = [await brokers.start(), await brokers.start(), await brokers.start()] as const;
    const [a] = ring;
    const fetched = Promise.all(
      ring.map((broker) => new Promise<void>((resolve) => broker.on('subscribed', () => resolve()))),
    );
    for (const [index, broker] of ring.entries())
      broker.addBridge({
        name: 'next',
        clientId: `from-${index}`,
        remotes: at(ring[(index + 1) % 3]!),
        hopsMax: 6,
        topics: [{ topic: 'ring', direction: 'in' as const, qos: 1 }],
      });
    await fetched;
    const seen = new Watch(a, 'ring');
    a.publish('ring', 'x', { qos: 1 });
    a.publish('ring', 'y', { qos: 1 });
    const copies = await seen.take(6);
    assert.deepEqual(
      copies
        .filter(({ payload }) => payload === 'x')
        .map(({ properties: found }) => (found as { userProperties?: unknown } | undefined)?.userProperties),
      [undefined, [['dunlin-hops', '3']], [['dunlin-hops', '6']]],
    );
  });

  it('forwards between two remotes without a listener of its own', async () => {
    const left = await brokers.start();
    const right = await brokers.start();
    const forwarder = await brokers.start({
      listeners: [],
      bridges: [
        {
          name: 'left',
          remotes: at(left),
          protocolVersion: '3.1.1',
          topics: [{ topic: 'm/#', direction: 'both', qos: 2 }],
        },
        {
          name: 'right',
          remotes: at(right),
          topics: [{ topic: 'm/#', direction: 'both', qos: 2, remotePrefix: 'via/' }],
        },
      ],
    });
    await reaches(forwarder, 'left', 'connected');
    await reaches(forwarder, 'right', 'connected');
    const there = new Watch(right, 'via/#');
    const here = new Watch(left, 'm/#');
    let first = 0;
    while (there.messages.length === 0) {
      left.publish('m/first', String(first++), { qos: 0 });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    left.publish('m/1', 'to the right', { qos: 2 });
    assert.equal((await there.topic('via/m/1')).payload, 'to the right');
    right.publish('via/m/2', 'to the left', { qos: 2 });
    assert.equal((await here.topic('m/2')).payload, 'to the left');
  });
});
