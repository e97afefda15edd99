/**
 * Every subscription of the node, as a tree of topic levels:
 *
 *   root ── "site" ── "zone" ── (+) ── "temp"        site/zone/+/temp
 *                  └─ (#)                            site/#  (matches "site" too)
 *
 * `+` and `#` are fields, not keys of the children, so a level's literal look-up never meets them. A node's subscriptions
 * are an array; each subscription knows its index in it, so that leaving costs the same with one member or a million.
 */
import { SharedGroup, type SharedGroupOptions } from './shared-group.js';
import { type Delivery, mergeSubscriptions, type Subscription } from './subscription.js';

class TopicNode {
  children: Map<string, TopicNode> | undefined;
  plus: TopicNode | undefined;
  hash: TopicNode | undefined;
  subscriptions: Subscription[] | undefined;
  groups: Map<string, SharedGroup> | undefined;

  constructor(
    readonly parent: TopicNode | undefined,
    readonly level: string,
  ) {}

  get empty(): boolean {
    return (
      this.plus === undefined &&
      this.hash === undefined &&
      this.children === undefined &&
      this.subscriptions === undefined &&
      this.groups === undefined
    );
  }
}

/** What one topic name matches. */
export interface Matches {
  readonly deliveries: readonly Delivery[];
  readonly groups: readonly SharedGroup[];
}

const noDeliveries: readonly Delivery[] = [];
const noGroups: readonly SharedGroup[] = [];

export class TopicTree {
  private readonly root = new TopicNode(undefined, '');
  private mark = 0;
  private count = 0;
  private groupCount = 0;

  constructor(private readonly sharedOptions: SharedGroupOptions) {}

  /** Subscriptions held, shared ones included. */
  get size(): number {
    return this.count;
  }

  get sharedGroups(): number {
    return this.groupCount;
  }

  /** Adds a subscription whose identity is not in the tree yet. Returns its group when it is shared. */
  add(subscription: Subscription): SharedGroup | undefined {
    const node = this.nodeFor(subscription.topicFilter);
    this.count++;
    if (subscription.shareName !== undefined) {
      node.groups ??= new Map();
      let group = node.groups.get(subscription.shareName);
      if (group === undefined) {
        group = new SharedGroup(subscription.shareName, subscription.topicFilter, this.sharedOptions);
        node.groups.set(subscription.shareName, group);
        this.groupCount++;
      }
      group.add(subscription);
      subscription.group = group;
      return group;
    }
    node.subscriptions ??= [];
    subscription.index = node.subscriptions.length;
    node.subscriptions.push(subscription);
    return undefined;
  }

  /** Puts `next` in the place of `current`, which has the same identity: no message slips between [MQTT-3.8.4-4]. */
  replace(current: Subscription, next: Subscription): void {
    const node = this.nodeFor(current.topicFilter);
    if (current.shareName !== undefined) {
      const group = node.groups!.get(current.shareName)!;
      group.replace(current, next);
      next.group = group;
      return;
    }
    node.subscriptions![current.index] = next;
    next.index = current.index;
    current.index = -1;
  }

  /** Removes a subscription that is in the tree. Returns its group when it is shared, even when that is empty now. */
  remove(subscription: Subscription): SharedGroup | undefined {
    const node = this.nodeFor(subscription.topicFilter);
    this.count--;
    let left: SharedGroup | undefined;
    if (subscription.shareName !== undefined) {
      left = node.groups!.get(subscription.shareName)!;
      left.remove(subscription);
      if (left.size === 0) {
        node.groups!.delete(subscription.shareName);
        if (node.groups!.size === 0) node.groups = undefined;
        this.groupCount--;
      }
    } else {
      const list = node.subscriptions!;
      const last = list.pop()!;
      if (last !== subscription) {
        list[subscription.index] = last;
        last.index = subscription.index;
      }
      subscription.index = -1;
      if (list.length === 0) node.subscriptions = undefined;
    }
    this.prune(node);
    return left;
  }

  /** Everything that `topicName` matches, overlapping subscriptions of one subscriber merged. */
  match(topicName: string): Matches {
    const levels = topicName.split('/');
    const found: Subscription[] = [];
    const groups: SharedGroup[] = [];
    this.walk(this.root, levels, 0, found, groups);
    return {
      deliveries: found.length === 0 ? noDeliveries : this.merge(found),
      groups: groups.length === 0 ? noGroups : groups,
    };
  }

  private walk(node: TopicNode, levels: string[], depth: number, found: Subscription[], groups: SharedGroup[]): void {
    // [MQTT-4.7.2-1] a wildcard at the first level does not match names that begin with $
    const wildcards = depth > 0 || levels[0]!.charCodeAt(0) !== 0x24;
    if (wildcards && node.hash !== undefined) collect(node.hash, found, groups); // `a/#` matches `a` as well
    if (depth === levels.length) {
      collect(node, found, groups);
      return;
    }
    const child = node.children?.get(levels[depth]!);
    if (child !== undefined) this.walk(child, levels, depth + 1, found, groups);
    if (wildcards && node.plus !== undefined) this.walk(node.plus, levels, depth + 1, found, groups);
  }

  private merge(found: Subscription[]): readonly Delivery[] {
    const mark = ++this.mark;
    const deliveries: Delivery[] = [];
    let overlaps: Map<number, Subscription[]> | undefined;
    for (const subscription of found) {
      const subscriber = subscription.subscriber;
      if (subscriber.matchMark !== mark) {
        subscriber.matchMark = mark;
        subscriber.matchIndex = deliveries.length;
        deliveries.push(subscription);
        continue;
      }
      overlaps ??= new Map();
      const index = subscriber.matchIndex;
      const parts = overlaps.get(index);
      if (parts) parts.push(subscription);
      else overlaps.set(index, [deliveries[index] as Subscription, subscription]);
    }
    if (overlaps) for (const [index, parts] of overlaps) deliveries[index] = mergeSubscriptions(parts);
    return deliveries;
  }

  private nodeFor(topicFilter: string): TopicNode {
    let node = this.root;
    for (const level of topicFilter.split('/')) {
      if (level === '+') node = node.plus ??= new TopicNode(node, level);
      else if (level === '#') node = node.hash ??= new TopicNode(node, level);
      else {
        node.children ??= new Map();
        let child = node.children.get(level);
        if (child === undefined) {
          child = new TopicNode(node, level);
          node.children.set(level, child);
        }
        node = child;
      }
    }
    return node;
  }

  private prune(from: TopicNode): void {
    let node = from;
    while (node.empty && node.parent !== undefined) {
      const parent: TopicNode = node.parent;
      if (parent.plus === node) parent.plus = undefined;
      else if (parent.hash === node) parent.hash = undefined;
      else {
        parent.children!.delete(node.level);
        if (parent.children!.size === 0) parent.children = undefined;
      }
      node = parent;
    }
  }
}

function collect(node: TopicNode, found: Subscription[], groups: SharedGroup[]): void {
  if (node.subscriptions) for (const subscription of node.subscriptions) found.push(subscription);
  if (node.groups) for (const group of node.groups.values()) groups.push(group);
}
