/** What can be set of the authority, with what is usual. */
export const keyTypes = ['p256', 'p384', 'rsa2048', 'rsa3072', 'rsa4096', 'ed25519'] as const;
export type KeyType = (typeof keyTypes)[number];

export interface AuthoritySettings {
  /** Common name of an authority that is created; empty for one with the name of the machine. */
  readonly name: string;
  readonly days: number;
  readonly keyType: KeyType;
  /** Names and addresses of the server's certificate besides those of the machine. */
  readonly serverNames: readonly string[];
  readonly serverDays: number;
  readonly clientDays: number;
  readonly crlDays: number;
  /** Where clients find the revocation list, written into certificates; empty for nowhere. */
  readonly crlUrl: string;
}

export const usualAuthoritySettings: AuthoritySettings = {
  name: '',
  days: 3650,
  keyType: 'p256',
  serverNames: [],
  serverDays: 397,
  clientDays: 825,
  crlDays: 7,
  crlUrl: '',
};

/** Every setting above that is a time is in days. */
export const DAY_MS = 86_400_000;

/** The longest life of a certificate. */
export const CERTIFICATE_DAYS_MAX = 36_500;
