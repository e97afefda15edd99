/**
 * The mount point of a listener: a prefix that its clients do not see. What they publish and subscribe to lies below it, and so each listener can have
 * a tree of topics of its own. Topics of the broker (`$SYS/…`) are the same for all.
 */
import type { Client } from '../policy/index.js';

const DELAYED = /^\$delayed\/[^/]*\//;

/**
 * The prefix for one client: `%u` stands for its user name, `%c` for its client identifier. Undefined when one cannot be part of a topic name, or would
 * begin it with `$`: below `$SYS`, `$share` and the like the client would be outside its tree.
 */
export function mountPointOf(pattern: string, { username, clientId }: Client): string | undefined {
  let usable = true;
  const prefix = pattern.replace(/%[uc]/g, (variable) => {
    const value = variable === '%u' ? (username ?? '') : clientId;
    if (value === '' || /[+#/\0]/.test(value)) usable = false;
    return value;
  });
  return usable && !prefix.startsWith('$') ? prefix : undefined;
}

/** A topic name or filter of the client, as the broker has it. */
export function mount(prefix: string, topic: string): string {
  if (prefix === '' || topic.startsWith('$SYS/')) return topic;
  const delayed = DELAYED.exec(topic)?.[0] ?? '';
  return delayed + prefix + topic.slice(delayed.length);
}

/** A filter as SUBSCRIBE has it, perhaps of a shared subscription. */
export function mountFilter(prefix: string, fullFilter: string): string {
  const share = /^\$share\/[^/]*\//.exec(fullFilter)?.[0] ?? '';
  return share + mount(prefix, fullFilter.slice(share.length));
}
