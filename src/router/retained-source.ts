/** Retained messages whose source has to be asked about, which may take its time. */
import type { Message, MessageSource } from '../protocol/index.js';
import type { Retained } from './retained-store.js';

/** Whether a retained message may go out to a new subscription. */
export type MayDeliver = (message: Message) => boolean | Promise<boolean>;

/**
 * The message that is retained where `asked` was when its source was asked about; undefined when it was removed, or replaced by one of
 * another source: that one went to whoever subscribed when it was published.
 */
export function retainedStill(retained: Retained, asked: Message): Message | undefined {
  const message = retained.get(asked.topicName);
  return message !== undefined && isSame(message.source, asked.source) ? message : undefined;
}

function isSame(one: MessageSource | undefined, other: MessageSource | undefined): boolean {
  return one?.clientId === other?.clientId && one?.username === other?.username && one?.listener === other?.listener;
}
