/** How `dunlin ca` words what it found, for people. */
import { escapeControls } from '../../src/base/index.js';
import type { AuthorityDescription, ListedCertificate, ServerCertificate } from '../../src/certificates/index.js';

const day = (iso: string | undefined) => iso?.slice(0, 10) ?? '';
/** Names in certificates are other people's: nothing in them may steer the terminal. */
const lines = (...rows: readonly (string | undefined)[]) =>
  `${rows
    .filter((row) => row !== undefined)
    .map((row) => row.split('\n').map(escapeControls).join('\n'))
    .join('\n')}\n`;

export function authorityText(
  folder: string,
  { subject, issuer, serialNumber, notBefore, notAfter, sha1, sha256, keyType, cannotIssue }: AuthorityDescription,
  server: ServerCertificate | undefined,
  list: { number: number; thisUpdate: string; nextUpdate: string; revoked: number } | undefined,
  { clients, revoked }: { clients: number; revoked: number },
): string {
  return lines(
    `Certificate authority in ${folder}`,
    `  subject          ${subject}`,
    issuer === subject ? undefined : `  issuer           ${issuer}`,
    `  serial number    ${serialNumber}`,
    `  valid            ${day(notBefore)} to ${day(notAfter)}`,
    `  key              ${keyType}`,
    `  SHA-1            ${sha1}`,
    `  SHA-256          ${sha256}`,
    `  issues           ${cannotIssue === undefined ? 'yes' : `no: ${cannotIssue}`}`,
    `  clients          ${clients} on the list, ${revoked} of them revoked`,
    list === undefined
      ? '  revocation list  none'
      : `  revocation list  number ${list.number}, ${list.revoked} revoked, valid to ${day(list.nextUpdate)}`,
    '',
    server === undefined ? 'No certificate of the server' : serverText(server).trimEnd(),
  );
}

const origins = {
  automatic: 'made by itself',
  created: 'made on request',
  imported: 'imported, not renewed here',
} as const;

export function serverText(server: ServerCertificate): string {
  const { origin, subject, issuer, serialNumber, names, notBefore, notAfter, selfSigned, keyType, sha1, sha256 } =
    server;
  return lines(
    'Certificate of the server',
    `  subject          ${subject}`,
    `  issuer           ${selfSigned ? 'itself' : issuer}`,
    `  serial number    ${serialNumber}`,
    `  names            ${names.join(', ')}`,
    `  valid            ${day(notBefore)} to ${day(notAfter)}`,
    `  key              ${keyType}`,
    `  SHA-1            ${sha1}`,
    `  SHA-256          ${sha256}`,
    `  origin           ${origins[origin]}`,
  );
}

export function stateOf({ state, notAfter }: ListedCertificate, nowMs: number): string {
  return state === 'authorized' && notAfter !== undefined && Date.parse(notAfter) < nowMs ? 'expired' : state;
}

export function listText(entries: readonly ListedCertificate[], nowMs: number): string {
  if (entries.length === 0) return 'The list is empty.\n';
  const rows = entries.map((entry) => [
    entry.id,
    stateOf(entry, nowMs),
    day(entry.notAfter) || '-',
    entry.origin,
    entry.subject ?? `serial number ${entry.serialNumber} of ${entry.issuer}`,
  ]);
  const table = [['id', 'state', 'until', 'origin', 'subject'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return lines(
    ...table.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    ),
  );
}

export function entryText(entry: ListedCertificate, state: string): string {
  const who = entry.subject ?? `serial number ${entry.serialNumber} of ${entry.issuer}`;
  const more =
    state === 'revoked' && entry.reason !== undefined && entry.reason !== 'unspecified' ? ` (${entry.reason})` : '';
  return lines(`${entry.id}  ${who}: ${state}${more}`);
}

export function issuedText(entry: ListedCertificate, notGranted: readonly string[], files: readonly string[]): string {
  return lines(
    `${entry.id}  ${entry.subject ?? ''}: valid to ${day(entry.notAfter)}`,
    ...files.map((file) => `  ${file}`),
    ...notGranted.map((what) => `  not granted: ${what}`),
  );
}
