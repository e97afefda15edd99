import { reasonName } from '../protocol/index.js';

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
