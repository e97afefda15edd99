import { Fault } from '../../base/index.js';

/**
 * What the authority answers instead of doing what it was asked:
 * INPUT what was handed in is wrong · UNKNOWN no such certificate · EXISTS something would be replaced without a word ·
 * NO_KEY the authority has no private key · MISSING there is no authority · DAMAGED a file of the folder cannot be read ·
 * IN_USE another process keeps the folder locked.
 */
export type AuthorityFaultCode =
  | 'CA_INPUT'
  | 'CA_UNKNOWN'
  | 'CA_EXISTS'
  | 'CA_NO_KEY'
  | 'CA_MISSING'
  | 'CA_DAMAGED'
  | 'CA_IN_USE';

export function authorityFault(code: AuthorityFaultCode, message: string, cause?: unknown): Fault {
  return new Fault(code, message, cause === undefined ? undefined : { cause });
}
