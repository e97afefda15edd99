/**
 * A subscriber that stops reading while a gigabyte is fanned out: the broker's memory stays under what its limits add up to,
 * and whoever reads gets every message, in order.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConfigInput } from '../../src/index.js';
import { brokerProcess, PATIENCE_MS } from '../interop/support.js';
import { publishAll, Receiver, type Shape } from './fan-out.js';

const MIB = 1_048_576;
const TOTAL_BYTES = 1024 * MIB;
const READERS = 3;
const limits = {
  outboundBytesMax: 8 * MIB,
  memoryOutboundBytesMax: 32 * MIB,
  queueBytesMax: 8 * MIB,
  queueMessagesMax: 1000,
} satisfies ConfigInput['limits'];

/** What the process needs beside what waits for subscribers: garbage that is not collected yet, above all. */
const OVERHEAD_BYTES = 128 * MIB;

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}

const shapes: (Shape & { name: string })[] = [
  { name: 'QoS 0, 1 KiB payloads', qos: 0, payloadBytes: 1024 },
  { name: 'QoS 0, 64 KiB payloads', qos: 0, payloadBytes: 65_536 },
  { name: 'QoS 1, 1 KiB payloads', qos: 1, payloadBytes: 1024 },
  { name: 'QoS 1, 64 KiB payloads', qos: 1, payloadBytes: 65_536 },
];

/** Until the reader is at the end, its connection is gone, or nothing has come for long. */
async function untilDone(reader: Receiver, count: number): Promise<void> {
  let deadline = Date.now() + PATIENCE_MS;
  for (let seen = reader.received; reader.last < count - 1 && !reader.closed && Date.now() < deadline; ) {
    await delay(10);
    if (reader.received > seen) deadline = Date.now() + PATIENCE_MS;
    seen = reader.received;
  }
}

describe('a subscriber that stops reading', { skip: process.platform !== 'linux', timeout: 300_000 }, () => {
  for (const shape of shapes)
    it(`bounds memory and costs the others nothing: ${shape.name}`, async (t) => {
      const broker = await brokerProcess({ limits });
      const sockets: Receiver[] = [];
      let watching = true;
      try {
        const stuck = await Receiver.subscribe(broker.port, 'stuck', shape);
        const readers: Receiver[] = [];
        for (let index = 0; index < READERS; index++)
          readers.push(await Receiver.subscribe(broker.port, `reader-${index}`, shape));
        sockets.push(stuck, ...readers);
        for (const reader of readers) reader.read();

        const before = residentBytes(broker.pid!);
        let most = before;
        const watched = (async () => {
          while (watching) {
            most = Math.max(most, residentBytes(broker.pid!));
            await delay(20);
          }
        })();
        const count = TOTAL_BYTES / shape.payloadBytes;
        const begun = Date.now();
        await publishAll(broker.port, shape, count);
        for (const reader of readers) await untilDone(reader, count);
        watching = false;
        await watched;

        t.diagnostic(
          `${Date.now() - begun} ms; resident ${Math.round(before / MIB)} MiB, at most ${Math.round(most / MIB)} MiB`,
        );
        for (const { received, missing, disorder, closed } of readers)
          assert.deepEqual(
            { received, missing, disorder, closed },
            { received: count, missing: 0, disorder: 0, closed: false },
          );
        // One subscriber fills its share of the outbound memory, and at QoS 1 its queue.
        const bound = before + limits.memoryOutboundBytesMax + limits.queueBytesMax * (READERS + 1) + OVERHEAD_BYTES;
        assert.ok(most < bound, `resident ${most} bytes, bound ${bound}`);

        // It may come back: what was kept for it is there, in order, and nothing else is lost to it.
        assert.equal(stuck.received, 0);
        stuck.read();
        while (stuck.received === 0 && !stuck.closed) await delay(10);
        assert.equal(stuck.disorder, 0);
        assert.equal(stuck.closed, false);
      } finally {
        watching = false;
        for (const { socket } of sockets) socket.destroy();
        await broker.stop();
      }
    });
});
