/** What a new subscription gets of retained messages. */
import { PacketType } from '../../src/protocol/index.js';
import type { WireClient } from './wire-client.js';

/** The payloads of those that come at once, in alphabetical order. */
export async function retainedNow(client: WireClient, topicFilter = 't/#'): Promise<string[]> {
  await client.subscribe(topicFilter);
  client.send({ type: PacketType.Pingreq });
  const payloads: string[] = [];
  for (;;) {
    const { packet } = await client.next();
    if (packet.type === PacketType.Pingresp) return payloads.sort();
    if (packet.type === PacketType.Publish) payloads.push(Buffer.from(packet.payload).toString());
  }
}
