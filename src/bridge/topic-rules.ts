/**
 * How the rows of a bridge join topics of this broker with topics of the remote.
 *
 *   local    localPrefix  + topic        ┐ forwarded, one prefix takes the place of the other
 *   remote   remotePrefix + topic        ┘
 *
 * A row without a topic joins two whole topic names. Several rows may match one name: each gives a name on the other side, and
 * names that are the same are one, at the highest QoS.
 */
import { quoted } from '../base/index.js';
import { isValidTopicFilter, isValidTopicName, type QoS, topicMatches } from '../protocol/index.js';
import { qosOf, type TopicRule } from './options.js';

const TOPIC_BYTES_MAX = 65535;

/** Where one message goes. */
export interface Renamed {
  readonly topicName: string;
  readonly qos: QoS;
}

/** What is wrong with a row, naming the setting and the sentence; undefined when it is sound. */
export function ruleProblem(
  rule: TopicRule,
): { setting: 'topic' | 'localPrefix' | 'remotePrefix'; sentence: string } | undefined {
  const { topic, localPrefix, remotePrefix } = rule;
  for (const setting of ['localPrefix', 'remotePrefix'] as const) {
    const prefix = rule[setting];
    if (prefix === '') {
      if (topic === '')
        return { setting, sentence: 'is missing: a row without topic needs both prefixes, each a whole topic name' };
      continue;
    }
    if (!isValidTopicName(prefix))
      return {
        setting,
        sentence: `${quoted(prefix)} cannot begin a topic: it holds a wildcard or a control character`,
      };
    if (topic === '' && prefix.endsWith('/'))
      return { setting, sentence: `${quoted(prefix)} ends with a slash: without topic it is a whole topic name` };
    if (topic !== '' && !prefix.endsWith('/'))
      return {
        setting,
        sentence: `${quoted(prefix)} has to end with a slash, since topic ${quoted(topic)} follows it`,
      };
    if (/^\$share\//.test(prefix)) return { setting, sentence: `${quoted(prefix)} is a shared subscription` };
  }
  if (topic === '') return undefined;
  if (!isValidTopicFilter(topic))
    return {
      setting: 'topic',
      sentence: `${quoted(topic)} is not a topic filter: + and # are whole levels, # the last`,
    };
  if (topic.startsWith('$share/'))
    return { setting: 'topic', sentence: `${quoted(topic)} is a shared subscription: its messages have no one origin` };
  const longest = Math.max(Buffer.byteLength(localPrefix), Buffer.byteLength(remotePrefix)) + Buffer.byteLength(topic);
  if (longest > TOPIC_BYTES_MAX) return { setting: 'topic', sentence: `is longer than ${TOPIC_BYTES_MAX} bytes` };
  return undefined;
}

export const isIncoming = ({ direction }: TopicRule): boolean => direction !== 'out';
export const isOutgoing = ({ direction }: TopicRule): boolean => direction !== 'in';
export const localFilter = ({ localPrefix, topic }: TopicRule): string => localPrefix + topic;
export const remoteFilter = ({ remotePrefix, topic }: TopicRule): string => remotePrefix + topic;

/** What a name of this broker is called at the remote, by every row that sends it. */
export function renameOutgoing(rules: readonly TopicRule[], topicName: string): Renamed[] {
  return rename(rules.filter(isOutgoing), topicName, [localFilter, remoteFilter], 'localPrefix', 'remotePrefix');
}

/** What a name of the remote is called here, by every row that takes it. */
export function renameIncoming(rules: readonly TopicRule[], topicName: string): Renamed[] {
  return rename(rules.filter(isIncoming), topicName, [remoteFilter, localFilter], 'remotePrefix', 'localPrefix');
}

function rename(
  rules: readonly TopicRule[],
  topicName: string,
  [filterHere, filterThere]: readonly [(rule: TopicRule) => string, (rule: TopicRule) => string],
  from: 'localPrefix' | 'remotePrefix',
  to: 'localPrefix' | 'remotePrefix',
): Renamed[] {
  const found = new Map<string, QoS>();
  for (const rule of rules) {
    // `a/#` matches `a` as well, which the prefix `a/` does not begin.
    if (!topicMatches(filterHere(rule), topicName) || !topicName.startsWith(rule[from])) continue;
    const renamed = rule[to] + topicName.slice(rule[from].length);
    if (renamed === '' || Buffer.byteLength(renamed) > TOPIC_BYTES_MAX) continue;
    // [MQTT-4.7.2-1] on the other side as well: without a prefix there, `#` reaches nothing below `$SYS` or `$CONTROL`
    if (!topicMatches(filterThere(rule), renamed)) continue;
    found.set(renamed, Math.max(qosOf(rule), found.get(renamed) ?? 0) as QoS);
  }
  return [...found].map(([name, qos]) => ({ topicName: name, qos }));
}

/** Filters with the QoS to subscribe with: the highest of the rows that have the same. */
export function filtersOf(rules: readonly TopicRule[], filterOf: (rule: TopicRule) => string): Map<string, QoS> {
  const filters = new Map<string, QoS>();
  for (const rule of rules) {
    const filter = filterOf(rule);
    filters.set(filter, Math.max(qosOf(rule), filters.get(filter) ?? 0) as QoS);
  }
  return filters;
}

/** A map that forgets everything when it has as many entries as it may: names that are used come back at the price of a miss. */
export class BoundedMap<Value> {
  private readonly entries = new Map<string, Value>();

  constructor(private readonly entriesMax: number) {}

  get(key: string): Value | undefined {
    return this.entries.get(key);
  }

  set(key: string, value: Value): Value {
    if (this.entries.size >= this.entriesMax) this.entries.clear();
    this.entries.set(key, value);
    return value;
  }
}
