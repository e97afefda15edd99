/** Whom a rule is about. Every condition that is given has to hold; of the values of one condition, one. */
import { BlockList, isIPv6 } from 'node:net';
import type { Client } from '../policy.js';

export interface Who {
  readonly usernames?: readonly string[];
  readonly clientIds?: readonly string[];
  readonly addresses?: readonly string[];
  readonly listeners?: readonly string[];
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
  /** Common names of certificates. */
  readonly certificates?: readonly string[];
}

/** What a client has at this moment, beside what it is. */
export interface Standing {
  readonly roles: readonly string[];
  readonly groups: readonly string[];
}

export type WhoTest = (client: Client, standing: Standing) => boolean;

/** Longer values are compared with no pattern, which may take very long over them. */
const PATTERN_INPUT_MAX = 1024;

/**
 * `refuses`: of a rule that denies, for which a name that is too long to be compared fits every pattern.
 * Errors  Error in words for whoever wrote it.
 */
export function compileWho(who: Who | undefined, refuses = false): WhoTest | undefined {
  if (who === undefined) return undefined;
  const tests: WhoTest[] = [];
  const text = (values: readonly string[] | undefined, read: (client: Client) => string | undefined) => {
    if (values === undefined || values.length === 0) return;
    const matches = compileTexts(values, refuses);
    tests.push((client) => matches(read(client)));
  };
  text(who.usernames, (client) => client.username);
  text(who.clientIds, (client) => client.clientId);
  text(who.listeners, (client) => client.listener);
  text(who.certificates, (client) => client.certificate?.commonName);
  if (who.addresses?.length) {
    const contains = compileNetworks(who.addresses);
    tests.push((client) => contains(client.address));
  }
  for (const [names, of] of [
    [who.roles, 'roles'],
    [who.groups, 'groups'],
  ] as const)
    if (names?.length) tests.push((_, standing) => standing[of].some((name) => names.includes(name)));
  return tests.length === 0 ? undefined : (client, standing) => tests.every((test) => test(client, standing));
}

/**
 * Texts that are meant as they are, or as regular expressions when written `/…/` (anchored at both ends, and `.` is any character: nobody
 * slips through with a line break). `tooLong` is the answer for values that are compared with no pattern.
 */
export function compileTexts(values: readonly string[], tooLong = false): (value: string | undefined) => boolean {
  const exact = new Set<string>();
  const patterns: RegExp[] = [];
  for (const value of values)
    if (isPattern(value)) patterns.push(compilePattern(value));
    else exact.add(value);
  return (value) => {
    if (value === undefined) return false;
    if (exact.has(value)) return true;
    if (value.length > PATTERN_INPUT_MAX) return tooLong && patterns.length > 0;
    return patterns.some((pattern) => pattern.test(value));
  };
}

const isPattern = (value: string) => value.length > 2 && value.startsWith('/') && value.endsWith('/');

function compilePattern(value: string): RegExp {
  try {
    return new RegExp(`^(?:${value.slice(1, -1)})$`, 'su');
  } catch (error) {
    throw new Error(`${JSON.stringify(value)} is no regular expression: ${(error as Error).message}`);
  }
}

/** What is wrong with a text or pattern; undefined when nothing is. */
export function patternProblem(value: string): string | undefined {
  if (!isPattern(value)) return value === '' ? 'is empty' : undefined;
  try {
    compilePattern(value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Addresses and networks such as `10.0.0.0/8`; an IPv4 address in IPv6 clothes counts as what it is. */
export function compileNetworks(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix, ...more] = network.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    try {
      // `Number` takes nothing at all for 0, and 0 is everybody.
      if (more.length > 0 || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) throw new Error('no prefix');
      if (prefix === undefined) list.addAddress(address, family);
      else list.addSubnet(address, Number(prefix), family);
    } catch {
      throw new Error(`${JSON.stringify(network)} is no address and no network`);
    }
  }
  return (address) => {
    if (address === '') return false;
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
    const plain = mapped ?? address;
    return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4');
  };
}
