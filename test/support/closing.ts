/** The end of a connection that the other side may reset. */
import type { EventEmitter } from 'node:events';

/**
 * Resolves when the socket is closed, in order or by a reset: a side that closes before it has read everything resets the connection,
 * and whether it has is a matter of time. `once(socket, 'close')` of `node:events` rejects at a reset.
 */
export function closing(socket: EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}
