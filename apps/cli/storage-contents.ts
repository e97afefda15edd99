/**
 * What the entries of a data folder are to MQTT: counts for `dunlin storage stat`, and words for keys that damage took.
 * The layout of the keys is that of the modules that own them: session/session-store.ts, router/stored-retained.ts,
 * router/delayed-messages.ts, router/group-store.ts.
 */

export interface Contents {
  sessions: number;
  subscriptions: number;
  /** Of these, shared ones. */
  sharedSubscriptions: number;
  retained: number;
  retainedBytes: number;
  /** Messages that wait for clients or are on their way to them. */
  queued: number;
  queuedBytes: number;
  /** Messages that wait for shared subscriptions without a connected member. */
  waitingForGroups: number;
  /** QoS 2 messages received and not released yet. */
  received: number;
  delayed: number;
  wills: number;
}

/** Counts entries, as they are read in order of their keys. */
export function countContents(entries: Iterable<{ readonly key: string; readonly value: Buffer }>): Contents {
  const contents: Contents = {
    sessions: 0,
    subscriptions: 0,
    sharedSubscriptions: 0,
    retained: 0,
    retainedBytes: 0,
    queued: 0,
    queuedBytes: 0,
    waitingForGroups: 0,
    received: 0,
    delayed: 0,
    wills: 0,
  };
  // Entries of sessions that have ended are still being removed: they do not count. 'B' and 'Q' come before 'e' and 's'.
  const perOwner = new Map<
    string,
    { subscriptions: number; shared: number; queued: number; bytes: number; received: number }
  >();
  const ended: string[] = [];
  const of = (owner: string) => {
    let counts = perOwner.get(owner);
    if (counts === undefined)
      perOwner.set(owner, (counts = { subscriptions: 0, shared: 0, queued: 0, bytes: 0, received: 0 }));
    return counts;
  };
  for (const { key, value } of entries) {
    const owner = key.slice(1, 5);
    switch (key[0]) {
      case 'B':
        of(owner).subscriptions++;
        if (key.startsWith('$share/', 5)) of(owner).shared++;
        break;
      case 'Q':
        of(owner).queued++;
        of(owner).bytes += Buffer.from(key.slice(12, 16), 'latin1').readUInt32BE();
        break;
      case 'R':
        of(owner).received++;
        break;
      case 'e':
        ended.push(owner);
        break;
      case 'G':
        contents.waitingForGroups++;
        break;
      case 'd':
        contents.delayed++;
        break;
      case 'r':
        contents.retained++;
        contents.retainedBytes += value.length;
        break;
      case 's':
        contents.sessions++;
        break;
      case 'w':
        contents.wills++;
        break;
    }
  }
  for (const owner of ended) perOwner.delete(owner);
  for (const { subscriptions, shared, queued, bytes, received } of perOwner.values()) {
    contents.subscriptions += subscriptions;
    contents.sharedSubscriptions += shared;
    contents.queued += queued;
    contents.queuedBytes += bytes;
    contents.received += received;
  }
  return contents;
}

const TEXT_MAX = 60;

/** An entry in words, by its key. */
export function describeKey(key: string): string {
  const text = (from: number) => {
    const whole = Buffer.from(key.slice(from), 'latin1').toString().replaceAll('\0', '/'); // as levels of topic names are kept
    return JSON.stringify(whole.length > TEXT_MAX ? `${whole.slice(0, TEXT_MAX)}…` : whole);
  };
  const owner = () => `session number ${Buffer.from(key.slice(1, 5), 'latin1').toString('hex')}`;
  switch (key[0]) {
    case 's':
      return `the session of client ${text(1)}`;
    case 'w':
      return `the will of client ${text(1)}`;
    case 'h':
      return `what bridge has the session of client ${text(1)}`;
    case 'c':
      return key === 'cr' ? 'the counts of retained messages' : `the counts of ${owner()}`;
    case 'e':
      return `the end of ${owner()}`;
    case 'B':
      return `the subscription of ${owner()} to ${text(5)}`;
    case 'Q':
      return `a message in the queue of ${owner()}`;
    case 'P':
    case 'R':
      return `an open exchange of ${owner()}`;
    case 'm':
    case 'n':
      return 'a message that queues share';
    case 'r':
      return `the retained message of ${text(1)}`;
    case 'x':
      return 'the expiry of a retained message';
    case 'd':
      return 'a delayed message';
    case 'g':
    case 'G':
      return 'a message that waits for a shared subscription';
    default:
      return 'an entry of unknown kind';
  }
}
