import assert from 'node:assert/strict';
import { it } from 'node:test';
import { silentLogger } from '../base/index.js';
import type { ListenerOptions } from '../connection/index.js';
import { Protection, type ProtectionOptions } from '../connection/protection/protection.js';
import { BrokerMetrics } from '../metrics/index.js';
import type { Place } from '../transport/index.js';
import { Admission, type AdmissionHost } from './admission.js';

const peerAt = (address: string) => ({ address, port: 1, localAddress: '127.0.0.1', localPort: 1883 });

function made(protectionOptions: Partial<ProtectionOptions> = {}) {
  const state = { nowMs: 0, running: true };
  const clock = { nowMs: () => state.nowMs };
  const protection = new Protection(
    {
      rates: [],
      connectionsPerUserMax: 0,
      connectionsPerAddressMax: 0,
      connectionsPerSecondMax: 0,
      connectionSecondsMax: 0,
      flapping: { connectsMax: 0, windowSeconds: 10, banSeconds: 30 },
      logins: { failuresMax: 0, windowSeconds: 10, delaySecondsMax: 1 },
      ...protectionOptions,
    },
    clock,
    silentLogger,
    undefined,
  );
  const lines: object[] = [];
  const overload = { reason: '' };
  const limits = { connectionsMax: 3 };
  const metrics = new BrokerMetrics(0);
  const admission = new Admission({
    context: clock,
    limits,
    guard: { protection, overload },
    metrics,
    log: { ...silentLogger, warning: (_event, sentence, fields) => void lines.push({ sentence, ...fields }) },
    running: () => state.running,
  } as Partial<AdmissionHost> as AdmissionHost);
  const listener = { name: 'a', connectionsMax: 2 } as ListenerOptions;
  const door = admission.door(listener);
  /** As of a socket whose address is known at accept. */
  const come = (address: string): Place | undefined => {
    const place = door.admit(peerAt(address));
    return place?.identify(peerAt(address)) ? place : undefined;
  };
  return { state, protection, lines, overload, limits, metrics, admission, listener, door, come };
}

it('a place counts for listener and broker at once, for the address when it is told, and is given back once', () => {
  const { admission, door, protection, come } = made({ connectionsPerAddressMax: 1 });
  const place = door.admit(peerAt('198.51.100.1'))!;
  assert.deepEqual([door.places, admission.places], [1, 1]);
  assert.equal(place.identify(peerAt('192.0.2.1')), true);
  assert.equal(place.identify(peerAt('192.0.2.1')), true);
  assert.equal(come('192.0.2.1'), undefined);
  assert.deepEqual([door.places, admission.places], [1, 1]);
  place.release();
  place.release();
  assert.deepEqual([door.places, admission.places], [0, 0]);
  assert.equal(protection.perAddress.add('192.0.2.1', 1), true);
  assert.equal(place.identify(peerAt('192.0.2.2')), false, 'whoever left takes no address');
});

it('one that leaves before its address was told leaves nothing behind', () => {
  const { admission, door, protection } = made();
  door.admit(peerAt('198.51.100.1'))!.release();
  assert.deepEqual([door.places, admission.places], [0, 0]);
  assert.equal(protection.perAddress.add('', 1), true);
});

it('each refusal is counted and says why', () => {
  const { state, lines, overload, limits, metrics, listener, protection, come } = made({ connectionsPerAddressMax: 1 });
  const places = [come('192.0.2.1'), come('192.0.2.2')];
  const full = { sentence: 'as many connections are open as may be', peer: '192.0.2.3:1', listener: 'a' };
  come('192.0.2.3');
  listener.connectionsMax = 9;
  limits.connectionsMax = 2;
  come('192.0.2.3');
  limits.connectionsMax = 9;
  overload.reason = 'it is hot';
  come('192.0.2.3');
  overload.reason = '';
  come('192.0.2.2');
  protection.bans.add({ kind: 'address', value: '192.0.2.0/24' }, 'test');
  come('192.0.2.3');
  assert.deepEqual(lines, [
    full,
    full,
    { ...full, sentence: 'the broker is overloaded: it is hot' },
    { ...full, sentence: 'the address 192.0.2.2 has as many connections as it may', peer: '192.0.2.2:1' },
    { ...full, sentence: 'the address 192.0.2.3 is banned' },
  ]);
  state.running = false;
  come('192.0.2.9');
  assert.equal(lines.length, 5, 'a broker that stops says nothing of it');
  assert.deepEqual([metrics.connectionsRefused, metrics.connectionsBanned], [6, 1]);
  assert.ok(places.every((place) => place !== undefined));
});

it('the rate has one token for each connection, and none for those refused for another reason', () => {
  const { state, lines, protection, come } = made({ connectionsPerAddressMax: 1, connectionsPerSecondMax: 2 });
  protection.bans.add({ kind: 'address', value: '192.0.2.9' }, 'test');
  assert.ok(come('192.0.2.1'));
  for (const address of ['192.0.2.1', '192.0.2.9']) assert.equal(come(address), undefined);
  const second = come('192.0.2.2');
  assert.ok(second);
  second.release();
  assert.equal(come('192.0.2.2'), undefined);
  assert.deepEqual(lines.at(-1), {
    sentence: 'more clients connect in a second than may',
    peer: '192.0.2.2:1',
    listener: 'a',
  });
  state.nowMs = 500;
  assert.ok(come('192.0.2.2'), 'the address was not counted when the rate refused it');
});

it('a flood of one kind has a bounded number of lines, and hides no other', () => {
  const { state, lines, protection, metrics, come } = made({ connectionsPerAddressMax: 1 });
  protection.bans.add({ kind: 'address', value: '192.0.2.9' }, 'test');
  for (let index = 0; index < 1000; index++) come('192.0.2.9');
  assert.equal(lines.length, 100);
  come('192.0.2.1');
  come('192.0.2.1');
  assert.equal(lines.length, 101);
  state.nowMs = 10_000;
  come('192.0.2.9');
  assert.deepEqual(lines.at(-1), {
    sentence: 'the address 192.0.2.9 is banned',
    peer: '192.0.2.9:1',
    listener: 'a',
    notLogged: 900,
  });
  assert.equal(metrics.connectionsRefused, 1002);
});
