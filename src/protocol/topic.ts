/**
 * Topic Names and Topic Filters as strings (v5 §4.7, §4.8): what is valid, and one plain matcher.
 *
 * The router matches with a tree; `topicMatches` is the short twin that its tests compare it with, and what tools use for a
 * handful of filters. Nothing here normalises anything [MQTT-4.7.3-4].
 */

/** `$share/<shareName>/<topicFilter>` taken apart. */
export interface SharedFilter {
  shareName: string;
  topicFilter: string;
}

const sharePrefix = '$share/';

export function isValidTopicName(topicName: string): boolean {
  if (topicName.length === 0) return false; // [MQTT-4.7.3-1]
  for (let index = 0; index < topicName.length; index += 1) {
    const code = topicName.charCodeAt(index);
    if (code === 0x23 || code === 0x2b || code === 0) return false; // [MQTT-4.7.0-1] [MQTT-4.7.3-2]
  }
  return true;
}

/** For a shared subscription, call it with the filter behind the share name. */
export function isValidTopicFilter(topicFilter: string): boolean {
  const length = topicFilter.length;
  if (length === 0) return false; // [MQTT-4.7.3-1]
  for (let index = 0; index < length; index += 1) {
    const code = topicFilter.charCodeAt(index);
    if (code === 0) return false; // [MQTT-4.7.3-2]
    if (code !== 0x23 && code !== 0x2b) continue;
    if (index > 0 && topicFilter.charCodeAt(index - 1) !== 0x2f) return false; // [MQTT-4.7.1-1] [MQTT-4.7.1-2]
    if (code === 0x23 && index !== length - 1) return false; // [MQTT-4.7.1-1]
    if (index < length - 1 && topicFilter.charCodeAt(index + 1) !== 0x2f) return false; // [MQTT-4.7.1-2]
  }
  return true;
}

/** Undefined when `filter` is no shared subscription; 'invalid' when it begins like one and is none. */
export function parseSharedFilter(filter: string): SharedFilter | 'invalid' | undefined {
  if (!filter.startsWith(sharePrefix)) return undefined;
  const slash = filter.indexOf('/', sharePrefix.length);
  if (slash <= sharePrefix.length) return 'invalid'; // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
  const shareName = filter.slice(sharePrefix.length, slash);
  if (shareName.includes('+') || shareName.includes('#')) return 'invalid'; // [MQTT-4.8.2-2]
  const topicFilter = filter.slice(slash + 1);
  return isValidTopicFilter(topicFilter) ? { shareName, topicFilter } : 'invalid';
}

/** Whether a valid filter (without share prefix) matches a valid topic name. */
export function topicMatches(topicFilter: string, topicName: string): boolean {
  const filterLevels = topicFilter.split('/');
  const nameLevels = topicName.split('/');
  const first = filterLevels[0];
  if (topicName.startsWith('$') && (first === '#' || first === '+')) return false; // [MQTT-4.7.2-1]
  for (const [index, level] of filterLevels.entries()) {
    if (level === '#') return true;
    if (index >= nameLevels.length || (level !== '+' && level !== nameLevels[index])) return false;
  }
  return filterLevels.length === nameLevels.length;
}

/** How many levels a topic name or filter has: one more than it has slashes. */
export function topicLevelCount(topic: string): number {
  let count = 1;
  for (let at = topic.indexOf('/'); at !== -1; at = topic.indexOf('/', at + 1)) count += 1;
  return count;
}
