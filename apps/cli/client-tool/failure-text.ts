/**
 * Failures as these tools say them, with their exit codes: the server's code when it refused the connection, 7 when it was
 * lost, else 1.
 */
import { getSystemErrorMap } from 'node:util';
import { ClientError } from '../../../src/client/index.js';
import {
  type ConnackPacket,
  type ProtocolVersion,
  ReasonCode,
  reasonName,
  returnCodeOf,
} from '../../../src/protocol/index.js';

const returnCodeTexts = [
  'Connection Accepted.',
  'Connection Refused: unacceptable protocol version.',
  'Connection Refused: identifier rejected.',
  'Connection Refused: broker unavailable.',
  'Connection Refused: bad user name or password.',
  'Connection Refused: not authorised.',
];

/** The words of the C library where libuv's differ. */
const systemTexts: Record<string, string> = {
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  ETIMEDOUT: 'Connection timed out',
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
};

/** What scripts know from libmosquitto as MOSQ_ERR_CONN_LOST. */
const connectionLost = 7;

export interface FailureReport {
  text: string;
  exitCode: number;
}

/** `Not authorized`, with one capital letter. */
export function reasonText(code: number): string {
  const name = reasonName(code);
  return (
    name.charAt(0) +
    name
      .slice(1)
      .replace(/ ([A-Z])([a-z])/g, (_all, first: string, second: string) => ` ${first.toLowerCase()}${second}`)
  );
}

export function reportFailure(error: unknown, address: string, version: ProtocolVersion): FailureReport {
  if (!(error instanceof ClientError)) {
    return {
      text: lookupFailed(error) ? 'Unable to connect (Lookup error.).' : `Error: ${textOf(error)}`,
      exitCode: 1,
    };
  }
  if (error.code === 'CLIENT_CONNECT_REFUSED') return reportRefusal(error, version);
  if (error.code === 'CLIENT_DIAL_FAILED') {
    const system = systemCode(error.cause);
    if (lookupFailed(error.cause)) return { text: `Unable to connect (Lookup error.): ${address}`, exitCode: 1 };
    if (system !== undefined)
      return { text: `Error: ${systemTexts[system] ?? systemMessage(system)} (${address})`, exitCode: 1 };
  }
  return { text: `Error: ${error.message}`, exitCode: error.code === 'CLIENT_CONNECTION_LOST' ? connectionLost : 1 };
}

function reportRefusal(
  { reasonCode = ReasonCode.UnspecifiedError, cause }: ClientError,
  version: ProtocolVersion,
): FailureReport {
  if (version === 5) {
    const reason = (cause as ConnackPacket | undefined)?.properties?.reasonString;
    return {
      text: `Connection error: ${reasonText(reasonCode)}${reason === undefined ? '' : ` (${reason})`}`,
      exitCode: reasonCode,
    };
  }
  const returnCode = returnCodeOf(reasonCode) ?? 3;
  return { text: `Connection error: ${returnCodeTexts[returnCode]}`, exitCode: returnCode };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function systemCode(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

function lookupFailed(error: unknown): boolean {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'ENODATA' || syscall === 'getaddrinfo';
}

function systemMessage(code: string): string {
  for (const [name, message] of getSystemErrorMap().values()) if (name === code) return message;
  return code;
}
