/**
 * Makes a data folder with everything in it that a broker stores, as committed in `format-1`. Run it again only when a new
 * format comes, into a folder of that format's name: an old folder must stay what an old Dunlin wrote.
 *
 *   node dist/test/formats/make-format-1.js FOLDER
 *
 * It is the state of a broker that was killed: some clients were connected. The first half stands in tables, the rest in logs.
 */
import { cpSync, rmSync } from 'node:fs';
import { silentLogger } from '../../src/base/index.js';
import { PacketType } from '../../src/protocol/index.js';
import { realFiles, Store } from '../../src/storage/index.js';
import { Scene } from '../support/scene.js';

const FOR_EVER = 4_294_967_295;
const never = { sessionExpiryInterval: FOR_EVER };

export const formatConfig = (path: string) => ({
  storage: { mode: 'buffered' as const, path },
  limits: { sessionExpirySecondsMax: FOR_EVER },
  priorities: [{ filter: 'alarm/#', priority: 40 }],
});

/** Before the first restart. */
async function first(scene: Scene): Promise<void> {
  const { connect, leave, drop } = scene;
  const feeder = await connect({ clientId: 'feeder' });
  const retain = { qos: 1, retain: true } as const;
  for (const name of ['a', 'b', 'c', 'gone']) await feeder.deliver(`plant/${name}`, `retained ${name}`, retain);
  await feeder.deliver('plant', 'retained plant', retain);
  await feeder.deliver('plant/ü', 'retained ü', retain);
  await feeder.deliver('plant/expires', 'retained for 136 years', {
    ...retain,
    properties: {
      messageExpiryInterval: FOR_EVER,
      contentType: 'text/plain',
      userProperties: [['origin', 'format 1']],
    },
  });

  // Subscribed for good, away since: messages of all kinds wait for it.
  const sleeper = await connect({ clientId: 'sleeper', cleanStart: false, properties: never });
  await sleeper.subscribe(['orders/#', 'alarm/+'], { qos: 2, properties: { subscriptionIdentifiers: [7] } });
  await sleeper.subscribe('options/+', { qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 });
  await leave(sleeper);
  const sleeper3 = await connect({ version: 4, clientId: 'sleeper-3', cleanStart: false });
  await sleeper3.subscribe('orders/#', { qos: 1 });
  await leave(sleeper3);
  await feeder.deliver('orders/1', 'order 1 at QoS 1', { qos: 1 });
  await feeder.deliver('orders/2', 'order 2 at QoS 2', { qos: 2 });
  await feeder.deliver('alarm/1', 'an alarm overtakes', { qos: 2 });

  const member = await connect({ clientId: 'member', cleanStart: false, properties: never });
  await member.subscribe('$share/group/jobs/#', { qos: 1 });
  await leave(member);
  for (const job of [1, 2, 3]) await feeder.deliver(`jobs/${job}`, `job ${job}`, { qos: 1 });

  // Its will waits for its delay.
  const mourned = await connect({
    clientId: 'mourned',
    cleanStart: false,
    properties: never,
    will: {
      topicName: 'wills/mourned',
      payload: Buffer.from('the will of mourned'),
      qos: 1,
      retain: false,
      properties: { willDelayInterval: FOR_EVER },
    },
  });
  await drop(mourned);
}

/** After the restart, up to the moment when it is killed. */
async function second(scene: Scene): Promise<void> {
  const { connect } = scene;
  const feeder = await connect({ clientId: 'feeder' });
  await feeder.deliver('plant/gone', '', { qos: 1, retain: true });
  await feeder.deliver('plant/b', 'retained b, newer', { qos: 1, retain: true });
  await feeder.deliver('orders/3', 'order 3', { qos: 2, properties: { messageExpiryInterval: FOR_EVER } });
  // Longer than the longest delay ahead: the folder is to be opened for years.
  const { now } = Date;
  Date.now = () => Date.UTC(2199, 0);
  await feeder.deliver('$delayed/3600/later/x', 'delayed', { qos: 1 });
  Date.now = now;

  // Two messages on their way to it when the broker is killed, one of them so far that only its identifier is open.
  const receiver = await connect({ clientId: 'receiver', cleanStart: false, properties: never });
  await receiver.subscribe('flights/#', { qos: 2 });
  await feeder.deliver('flights/1', 'flight 1', { qos: 1 });
  await feeder.deliver('flights/2', 'flight 2', { qos: 2 });
  await feeder.deliver('flights/3', 'flight 3', { qos: 2 });
  const messages = [await receiver.message(), await receiver.message(), await receiver.message()];
  receiver.pubrec(messages[2]!.packetId);
  await receiver.packet(PacketType.Pubrel);

  // Its QoS 2 message has been received and not been released.
  const sender = await connect({
    clientId: 'sender',
    cleanStart: false,
    properties: never,
    will: {
      topicName: 'wills/sender',
      payload: Buffer.from('the will of sender'),
      qos: 1,
      retain: true,
      properties: { willDelayInterval: FOR_EVER },
    },
  });
  sender.publish('orders/4', 'order 4, received once', { qos: 2, packetId: 77 });
  await sender.packet(PacketType.Pubrec);
}

export async function makeFolder(target: string): Promise<void> {
  const work = `${target}.work`;
  const before = new Scene(5, { config: formatConfig(work) });
  await before.start();
  await first(before);
  await before.stop();
  // So small a log becomes a table only when segments may not be larger than this.
  const store = await Store.open({
    folder: work,
    files: realFiles,
    mode: 'sync',
    log: silentLogger,
    segmentBytes: 100,
  });
  store.remove('nothing'); // the end of a turn that changed something is when a segment ends
  await store.settled();
  await store.close();
  const after = new Scene(5, { config: formatConfig(work) });
  await after.start();
  await second(after);
  cpSync(work, target, { recursive: true, filter: (path) => !path.endsWith('/lock') });
  await after.stop();
  rmSync(work, { recursive: true });
}

if (process.argv[1]?.endsWith('make-format-1.js')) {
  const [, , target] = process.argv;
  if (target === undefined) throw new Error('usage: make-format-1.js FOLDER');
  await makeFolder(target);
}
