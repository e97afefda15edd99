/** Names that go into certificates: subjects of clients and authorities, and the names a server answers to. */
import { isIP, isIPv6 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { quoted } from '../../base/index.js';
import { authorityFault } from './authority-fault.js';

/** What a subject may consist of, and how each part is written. */
export const subjectTypes = {
  C: { id: '2.5.4.6', form: 'printable' },
  ST: { id: '2.5.4.8', form: 'utf8' },
  L: { id: '2.5.4.7', form: 'utf8' },
  O: { id: '2.5.4.10', form: 'utf8' },
  OU: { id: '2.5.4.11', form: 'utf8' },
  CN: { id: '2.5.4.3', form: 'utf8' },
  serialNumber: { id: '2.5.4.5', form: 'printable' },
  DC: { id: '0.9.2342.19200300.100.1.25', form: 'ia5' },
  UID: { id: '0.9.2342.19200300.100.1.1', form: 'utf8' },
  emailAddress: { id: '1.2.840.113549.1.9.1', form: 'ia5' },
} as const;
export type SubjectType = keyof typeof subjectTypes;

export interface SubjectPart {
  readonly type: SubjectType;
  readonly value: string;
}

/** A name in a certificate's subjectAltName. */
export interface ServerName {
  readonly kind: 'dns' | 'ip';
  readonly value: string;
}

/** RFC 5280 ub-common-name; OpenSSL refuses longer ones. */
const COMMON_NAME_CHARACTERS_MAX = 64;
const NAMES_MAX = 100;
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]|[\ud800-\udfff]/u;

/** What is wrong with a common name; undefined when nothing is. */
function commonNameFault(name: string): string | undefined {
  const characters = [...name].length;
  if (name.trim() !== name || characters < 1 || characters > COMMON_NAME_CHARACTERS_MAX)
    return `a common name has 1 to ${COMMON_NAME_CHARACTERS_MAX} characters without spaces around it, not ${quoted(name)}`;
  return unprintable.test(name) ? `a common name has no control characters: ${quoted(name)}` : undefined;
}

export function checkedCommonName(name: string): string {
  const fault = commonNameFault(name);
  if (fault !== undefined) throw authorityFault('CA_INPUT', fault);
  return name;
}

/** RFC 5280 appendix A.1 bounds the parts at 64 characters, an address at 255; a country is two letters. */
export function checkedSubject(parts: readonly SubjectPart[]): readonly SubjectPart[] {
  for (const { type, value } of parts) {
    const { form } = subjectTypes[type];
    const most = type === 'emailAddress' ? 255 : COMMON_NAME_CHARACTERS_MAX;
    const fits = [...value].length >= 1 && [...value].length <= most && !unprintable.test(value);
    const spelled = form === 'utf8' || (form === 'ia5' ? /^[\x20-\x7e]*$/ : /^[A-Za-z0-9 '()+,\-./:=?]*$/).test(value);
    if (!fits || !spelled || (type === 'C' && !/^[A-Z]{2}$/.test(value)))
      throw authorityFault('CA_INPUT', `${quoted(value)} cannot be the ${type} of a certificate`);
  }
  return parts;
}

/** A host name, a name with `*` as its first label, or an address. */
export function readServerName(text: string): ServerName {
  const name = text
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();
  if (isIP(name) !== 0 && !name.includes('%')) return { kind: 'ip', value: plainAddress(name) };
  const labels = name.split('.');
  const sound = labels.every((label, index) => (index === 0 && label === '*' && labels.length > 2) || isLabel(label));
  if (!sound || name.length > 253 || /^[\d.]+$/.test(name))
    throw authorityFault('CA_INPUT', `${quoted(text)} is no host name and no IP address`);
  return { kind: 'dns', value: name };
}

/** IPv6 addresses have many spellings; this is that of RFC 5952. */
export function plainAddress(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

const isLabel = (label: string) => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/.test(label);

export function readServerNames(texts: readonly string[]): ServerName[] {
  const names = unique(texts.map(readServerName));
  if (names.length > NAMES_MAX)
    throw authorityFault(
      'CA_INPUT',
      `${names.length} names are too many for a certificate; at most ${NAMES_MAX} are allowed`,
    );
  return names;
}

/**
 * The names of this machine: the given ones, the host name, localhost, the addresses of its interfaces.
 * Addresses that only make sense together with an interface (link-local) are left out.
 */
export function machineNames(given: readonly string[]): ServerName[] {
  return unique([...lastingNames(given), ...addresses('IPv6')]).slice(0, NAMES_MAX);
}

/** Those whose appearance makes a new certificate due; IPv6 addresses of a machine come and go by the day. */
export function lastingNames(given: readonly string[]): ServerName[] {
  const local = ['localhost', '127.0.0.1', '::1'].map(readServerName);
  return unique([...readServerNames(given), ...hostNames(), ...local, ...addresses('IPv4')]).slice(0, NAMES_MAX);
}

function addresses(wanted: 'IPv4' | 'IPv6'): ServerName[] {
  return Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ family, address }) => family === wanted && !/^(fe[89ab]|169\.254\.)/i.test(address))
    .map(({ address }) => ({ kind: 'ip', value: plainAddress(address) }));
}

/** A host name may be anything; what no certificate can hold is left out. */
function hostNames(): ServerName[] {
  try {
    const name = readServerName(hostname());
    const short = name.value.split('.')[0]!;
    return name.kind === 'dns' && short !== name.value ? [name, { kind: 'dns', value: short }] : [name];
  } catch {
    return [];
  }
}

function unique(names: readonly ServerName[]): ServerName[] {
  return [...new Map(names.map((name) => [`${name.kind} ${name.value}`, name])).values()];
}

interface ParsedNamePart {
  readonly type: string;
  readonly value: string;
}

/**
 * A distinguished name as people write it: `CN=Plant CA,O=Example`, OpenSSL's `C = DE, O = Example, CN = Plant CA`, or
 * `/C=DE/O=Example/CN=Plant CA`. Undefined when it is none.
 */
export function parseName(text: string): ParsedNamePart[] | undefined {
  const slashes = text.startsWith('/');
  const pieces = slashes ? text.slice(1).split(/\/(?=[A-Za-z0-9.]+=)/) : splitUnescaped(text);
  const parts: ParsedNamePart[] = [];
  for (const piece of pieces) {
    const [, type, value] = /^\s*([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)\s*=([\s\S]*)$/.exec(piece) ?? [];
    if (type === undefined || value === undefined) return undefined;
    parts.push({ type, value: slashes ? value : plainValue(value) });
  }
  return parts;
}

/** At commas, semicolons and plus signs that are neither escaped nor within quotes. */
function splitUnescaped(text: string): string[] {
  const pieces: string[] = [];
  let from = 0;
  let inQuotes = false;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') inQuotes = !inQuotes;
    else if (!inQuotes && (text[at] === ',' || text[at] === ';' || text[at] === '+')) {
      pieces.push(text.slice(from, at));
      from = at + 1;
    }
  }
  return [...pieces, text.slice(from)];
}

/** Without quotes, escapes, and spaces around it that are not escaped (RFC 4514 §3). */
function plainValue(written: string): string {
  const begun = written.trimStart();
  // One step a character: anybody can show a certificate with a name of nothing but spaces.
  let end = begun.trimEnd().length;
  if (end < begun.length && isEscaped(begun, end)) end++;
  let value = begun.slice(0, end);
  if (value.length >= 2 && value.startsWith('"') && value.endsWith('"')) value = value.slice(1, -1);
  return value.replace(/(?:\\[0-9a-fA-F]{2})+|\\([\s\S])/g, (all, plain?: string) =>
    plain === undefined ? Buffer.from(all.replaceAll('\\', ''), 'hex').toString('utf8') : plain,
  );
}

/** Whether an odd number of backslashes stands before `at`. */
function isEscaped(text: string, at: number): boolean {
  let from = at;
  while (text[from - 1] === '\\') from--;
  return (at - from) % 2 === 1;
}

/**
 * One text for all spellings of a distinguished name: types and values in lower case, spaces folded, order left aside, since
 * programs print names in either order. Undefined when the text is no name.
 */
export function nameKey(text: string): string | undefined {
  const parts = parseName(text);
  if (parts === undefined) return undefined;
  const folded = parts.map(({ type, value }) => JSON.stringify([type.toLowerCase(), fold(value)]));
  return folded.sort().join();
}

const fold = (value: string) => value.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase();
