// Who publishes where and who subscribes to what. A layout is a pure function of the plan and of the number of the
// publisher or subscriber, so every worker works out its own part without being told.
//
//   shared    everybody on one topic: fan-out, and fan-in of one topic
//   pair      publisher i to subscriber i, i + P, i + 2P ...
//   fanin     a topic per publisher, all matched by one wildcard filter of each subscriber
//   wildcard  many wildcard filters per subscriber, every topic matching exactly one of them
//   distinct  every message on a topic of its own, one wildcard filter over them all
//   idle      no topics at all: connections that stay
//   template  topic names and topic filters of the user's own, %i standing for the number

import type { LoadPlan } from './plan.js';

const digits = (value: number, width: number) => String(value).padStart(width, '0');

/** The filter and the topic of one (subscriber, filter) place of the wildcard layout; topics are all equally long. */
export function wildcardFilter(prefix: string, subscriber: number, filter: number): string {
  const owner = digits(subscriber, 6);
  const leaf = digits(filter, 4);
  if (filter % 3 === 0) return `${prefix}/${owner}/+/${leaf}`;
  if (filter % 3 === 1) return `${prefix}/${owner}/${leaf}/#`;
  return `+/${owner}/${leaf}/reading`;
}

export function wildcardTopic(prefix: string, subscriber: number, filter: number): string {
  const owner = digits(subscriber, 6);
  const leaf = digits(filter, 4);
  return filter % 3 === 0 ? `${prefix}/${owner}/reading/${leaf}` : `${prefix}/${owner}/${leaf}/reading`;
}

const fill = (template: string, number: number) => template.replaceAll('%i', String(number));

export function distinctTopic(prefix: string, message: number): string {
  return `${prefix}/each/${digits(message, 8)}`;
}

/** The topic a publisher begins with; where topics change from message to message, TopicTable says what comes next. */
export function topicOf(plan: LoadPlan, publisher: number): string {
  switch (plan.layout) {
    case 'shared':
      return `${plan.topicPrefix}/shared`;
    case 'pair':
      return `${plan.topicPrefix}/pair/${digits(publisher, 6)}`;
    case 'fanin':
      return `${plan.topicPrefix}/from/${digits(publisher, 6)}/data`;
    case 'wildcard':
      return wildcardTopic(plan.topicPrefix, 0, 0);
    case 'distinct':
      return distinctTopic(plan.topicPrefix, 0);
    case 'idle':
      return `${plan.topicPrefix}/idle`;
    case 'template':
      return fill(plan.topicName, publisher);
  }
}

export function filtersOf(plan: LoadPlan, subscriber: number): string[] {
  if (plan.session === 'resume') return [];
  const filters = unsharedFilters(plan, subscriber);
  return plan.shareName === '' ? filters : filters.map((filter) => `$share/${plan.shareName}/${filter}`);
}

function unsharedFilters(plan: LoadPlan, subscriber: number): string[] {
  switch (plan.layout) {
    case 'shared':
      return [`${plan.topicPrefix}/shared`];
    case 'pair':
      return [`${plan.topicPrefix}/pair/${digits(subscriber % Math.max(1, plan.publishers), 6)}`];
    case 'fanin':
      return [`${plan.topicPrefix}/from/+/data`];
    case 'wildcard':
      return Array.from({ length: plan.filters }, (_, filter) => wildcardFilter(plan.topicPrefix, subscriber, filter));
    case 'distinct':
      return [`${plan.topicPrefix}/each/#`];
    case 'idle':
      return [];
    case 'template':
      return [fill(plan.topicFilter, subscriber)];
  }
}

/** Deliveries that one message brings; 0 when the layout cannot tell. */
export function fanOf(plan: LoadPlan): number {
  if (plan.subscribers === 0 || plan.publishers === 0 || plan.layout === 'template') return 0;
  if (plan.layout === 'wildcard' || plan.shareName !== '') return 1;
  return plan.layout === 'pair' ? plan.subscribers / plan.publishers : plan.subscribers;
}

/**
 * How the sequence numbers that one subscriber sees of one publisher run: `every` one of them, so a gap is a loss;
 * `some` in rising order; or `unknown`, when there are too many flows for a table or the topics are the user's.
 */
export function flowOf(plan: LoadPlan): 'every' | 'some' | 'unknown' {
  const flows = plan.subscribers * (plan.layout === 'pair' ? 1 : plan.publishers);
  if (flows > FLOWS_MAX || flows === 0 || plan.layout === 'template') return 'unknown';
  return plan.layout === 'wildcard' || plan.shareName !== '' ? 'some' : 'every';
}

const FLOWS_MAX = 4_000_000;

/** The worker a publisher or a subscriber lives in; both ends of a pair live together. */
export function workerOf(plan: LoadPlan, role: 'publisher' | 'subscriber', index: number): number {
  if (role === 'subscriber' && plan.layout === 'pair' && plan.publishers > 0)
    return (index % plan.publishers) % plan.workers;
  return index % plan.workers;
}
