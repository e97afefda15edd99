import { ProtocolFailure, ReasonCode, reasonName } from '../protocol/index.js';
import { PingTimeout } from './connection.js';

export type ClientErrorCode =
  | 'CLIENT_DIAL_FAILED'
  | 'CLIENT_CONNECT_TIMEOUT'
  | 'CLIENT_CONNECT_REFUSED'
  | 'CLIENT_AUTHENTICATION_FAILED'
  | 'CLIENT_SERVER_DISCONNECTED'
  | 'CLIENT_CONNECTION_LOST'
  | 'CLIENT_KEEP_ALIVE_TIMEOUT'
  | 'CLIENT_PROTOCOL_FAILURE'
  | 'CLIENT_NOT_CONNECTED'
  | 'CLIENT_QUEUE_FULL'
  | 'CLIENT_NOT_SUPPORTED_BY_SERVER'
  | 'CLIENT_CLOSED';

/** Whatever ends a connection or a request, with a stable code. The message names the server where one is involved. */
export class ClientError extends Error {
  override readonly name = 'ClientError';

  /**
   * @param reasonCode  what the server said, or what we told it; undefined when nobody said anything
   */
  constructor(
    readonly code: ClientErrorCode,
    message: string,
    readonly reasonCode?: number,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** `Not Authorized (0x87): no such user`, for messages. */
export function describeReason(reasonCode: number, reasonString: string | undefined): string {
  const text = `${reasonName(reasonCode)} (0x${reasonCode.toString(16).padStart(2, '0')})`;
  return reasonString === undefined ? text : `${text}: ${reasonString}`;
}

/** What ended a connection to `address` that had been there. */
export function closingError(error: Error | undefined, address: string): ClientError {
  if (error instanceof ClientError) return error;
  if (error instanceof ProtocolFailure) {
    const text = `${address} broke the protocol: ${error.message}`;
    return new ClientError('CLIENT_PROTOCOL_FAILURE', text, error.reasonCode, error);
  }
  if (error instanceof PingTimeout) {
    const text = `${address}: ${error.message}`;
    return new ClientError('CLIENT_KEEP_ALIVE_TIMEOUT', text, ReasonCode.KeepAliveTimeout, error);
  }
  const reason = error === undefined ? 'the server closed it' : error.message;
  const text = `the connection to ${address} was lost: ${reason}`;
  return new ClientError('CLIENT_CONNECTION_LOST', text, undefined, error);
}

/** What kept a client from connecting to `address`. */
export function asClientError(error: unknown, address: string): ClientError {
  if (error instanceof ClientError) return error;
  const text = `cannot connect to ${address}: ${reasonOf(error)}`;
  return new ClientError('CLIENT_DIAL_FAILED', text, undefined, error);
}

/** Dialling several addresses of a name gives an AggregateError without a message of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
