/** What each command of `dunlin ca` does; arguments are read by `ca.ts`. */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type Logger, LogLevel } from '../../src/base/index.js';
import {
  type AuthorityHost,
  type BundleContents,
  bundleFileNames,
  bundleFiles,
  CertificateAuthority,
  fileNameFor,
  type Issued,
  type KeyType,
  keyTypes,
  type ListedCertificate,
  makeBundle,
  pkcs12PasswordFault,
  type RevocationReason,
  readServerName,
  revocationReasons,
} from '../../src/certificates/index.js';
import {
  CaRefusal,
  type CaSettings,
  type OptionKind,
  Place,
  readInput,
  readMaterial,
  readPassword,
} from './ca-support.js';
import { authorityText, entryText, issuedText, listText, serverText, stateOf } from './ca-text.js';

export interface CaRequest {
  readonly operands: readonly string[];
  readonly options: Readonly<Record<string, readonly string[]>>;
  readonly settings: CaSettings;
  readonly folder: string;
  /** The one or the other, as `--json` says. */
  readonly print: (plain: string, json: unknown) => void;
  readonly printBytes: (bytes: Buffer | string) => void;
  readonly warn: (sentence: string) => void;
}

export interface CaAction {
  /** What the one operand is called. */
  readonly operand?: string;
  readonly operandOptional?: boolean;
  readonly options: Readonly<Record<string, OptionKind>>;
  readonly run: (request: CaRequest) => Promise<void>;
}

const out = { '--out': 'value' } as const;
const life = { '--days': 'value', '--key-type': 'value' } as const;
const packing = {
  ...out,
  '--zip': 'value',
  '--password-file': 'value',
  '--host': 'value',
  '--port': 'value',
} as const;
const material = { '--key': 'value', '--password-file': 'value' } as const;
const forServer = { '--server': 'flag', '--name': 'list' } as const;

export const actions: Readonly<Record<string, CaAction>> = {
  init: { options: { ...life, '--name': 'value', '--server-name': 'list', '--replace': 'flag' }, run: init },
  import: { operand: 'FILE', options: { ...material, '--replace': 'flag' }, run: importAuthority },
  export: { options: out, run: exportAuthority },
  show: { options: {}, run: show },
  issue: { operand: 'NAME', options: { ...life, ...packing, ...forServer, '--organization': 'value' }, run: issue },
  sign: {
    operand: 'FILE',
    options: { ...out, ...forServer, '--common-name': 'value', '--days': 'value', '--organization': 'value' },
    run: sign,
  },
  list: { options: { '--authorized': 'flag', '--revoked': 'flag', '--server': 'flag' }, run: list },
  add: { operand: 'FILE', operandOptional: true, options: { '--serial': 'value', '--issuer': 'value' }, run: add },
  revoke: { operand: 'WHICH', options: { '--reason': 'value', '--all': 'flag' }, run: revoke },
  authorize: { operand: 'WHICH', options: { '--force': 'flag' }, run: authorize },
  remove: { operand: 'WHICH', options: {}, run: remove },
  renew: {
    operand: 'WHICH',
    operandOptional: true,
    options: { ...packing, '--authority': 'flag', '--days': 'value', '--new-key': 'flag', '--revoke-old': 'flag' },
    run: renew,
  },
  crl: { options: { ...out, '--der': 'flag', '--refresh': 'flag' }, run: crl },
  'server show': { options: {}, run: showServer },
  'server create': { options: { ...life, '--name': 'list' }, run: createServer },
  'server import': { operand: 'FILE', options: material, run: importServer },
  'server export': { options: out, run: exportServer },
};

// ---- the authority ----

async function init(request: CaRequest): Promise<void> {
  const authority = await open(request, 'begin');
  const name = one(request, '--name');
  await authority.create({
    ...(name === undefined ? {} : { name }),
    ...terms(request),
    serverNames: all(request, '--server-name'),
    replace: has(request, '--replace'),
  });
  printAuthority(request, authority);
}

async function importAuthority(request: CaRequest): Promise<void> {
  const { chain, key } = materialOf(request);
  const authority = await open(request, 'begin');
  await authority.import(chain, key, { replace: has(request, '--replace') });
  printAuthority(request, authority);
}

async function exportAuthority(request: CaRequest): Promise<void> {
  const authority = await open(request, 'read');
  deliver(request, authority.authority());
}

async function show(request: CaRequest): Promise<void> {
  printAuthority(request, await open(request, 'read'));
}

function printAuthority({ print, folder }: CaRequest, authority: CertificateAuthority): void {
  const server = authority.serverCertificate();
  const revocationList = authority.describeRevocationList();
  const certificates = authority.certificates().filter(({ purpose }) => purpose === 'client');
  const counts = {
    clients: certificates.length,
    revoked: certificates.filter(({ state }) => state === 'revoked').length,
  };
  const description = authority.describe();
  print(authorityText(folder, description, server, revocationList, counts), {
    folder,
    authority: { ...description, canIssue: description.cannotIssue === undefined },
    server,
    revocationList,
    ...counts,
  });
}

// ---- certificates ----

async function issue(request: CaRequest): Promise<void> {
  const commonName = request.operands[0]!;
  const purpose = has(request, '--server') ? 'server' : 'client';
  const names = all(request, '--name');
  const password = bundlePassword(request);
  const authority = await open(request, 'use');
  await packed(request, authority, { commonName, purpose, password }, () =>
    authority.issue({ commonName, organization: one(request, '--organization'), purpose, names, ...terms(request) }),
  );
  const nowMs = Date.now();
  const same = authority
    .certificates()
    .filter((entry) => entry.commonName === commonName && stateOf(entry, nowMs) === 'authorized');
  if (same.length > 1) request.warn('another valid certificate has the same common name; both count from now on');
}

async function sign(request: CaRequest): Promise<void> {
  const [file = ''] = request.operands;
  const bytes = readInput(file);
  const authority = await open(request, 'use');
  const place = reserve(request);
  const issued = await orGiveUp(place, () =>
    authority.sign(
      bytes,
      {
        commonName: one(request, '--common-name'),
        organization: one(request, '--organization'),
        purpose: has(request, '--server') ? 'server' : 'client',
        names: all(request, '--name'),
        ...terms(request),
      },
      file,
    ),
  );
  printCertificate(request, place, issued);
}

async function renew(request: CaRequest): Promise<void> {
  const [reference] = request.operands;
  const forAuthority = has(request, '--authority');
  if (forAuthority === (reference !== undefined))
    throw new CaRefusal('renew: give either WHICH or --authority; see dunlin ca --help', 2);
  const authority = await open(request, 'use');
  const { days } = terms(request);
  if (reference === undefined) {
    await authority.renewAuthority(days);
    return printAuthority(request, authority);
  }
  const newKey = has(request, '--new-key');
  const change = { newKey, revokeOld: has(request, '--revoke-old'), ...(days === undefined ? {} : { days }) };
  if (newKey) {
    const password = bundlePassword(request);
    const { commonName = reference, purpose } = authority.find(reference);
    return packed(request, authority, { commonName, purpose, password }, () => authority.renew(reference, change));
  }
  const place = reserve(request);
  printCertificate(request, place, await orGiveUp(place, () => authority.renew(reference, change)));
}

/** Into a zip or a folder, whose place is made sure of first: the key exists nowhere else. */
async function packed(
  request: CaRequest,
  authority: CertificateAuthority,
  { commonName, purpose, password }: Pick<BundleContents, 'commonName' | 'purpose' | 'password'>,
  make: () => Promise<Issued>,
): Promise<void> {
  const [folder, zip] = [one(request, '--out'), one(request, '--zip')];
  if (folder !== undefined && zip !== undefined) throw new CaRefusal('give either --zip or --out', 2);
  const name = fileNameFor(commonName);
  const [host, port] = [exampleHost(request, authority), examplePort(request)];
  const place =
    folder === undefined
      ? Place.file(zip ?? `${name}.zip`)
      : Place.folder(folder, bundleFileNames(commonName, purpose, true, password !== undefined));
  const issued = await orGiveUp(place, make);
  const authorities = authority.authority();
  const contents = { commonName, purpose, chain: issued.chain, key: issued.key, authorities, host, port, password };
  const files = place.write(
    folder === undefined
      ? [{ name: '', contents: await makeBundle(contents, Date.now()), mode: 0o600 }]
      : await bundleFiles(contents),
  );
  const { entry, notGranted } = issued;
  request.print(issuedText(entry, notGranted, files), { certificate: entry, notGranted, files });
}

/** A certificate without a key: into a file, or onto standard output. */
function printCertificate(request: CaRequest, place: Place | undefined, { entry, chain, notGranted }: Issued): void {
  const certificatePem = chain.map(String).join('');
  for (const what of notGranted) request.warn(`not granted: ${what}`);
  if (place === undefined) {
    request.print(certificatePem, { certificate: entry, notGranted, certificatePem });
    return;
  }
  const files = place.write([{ name: '', contents: certificatePem, mode: 0o644 }]);
  request.print(issuedText(entry, [], files), { certificate: entry, notGranted, files });
}

async function list(request: CaRequest): Promise<void> {
  const [authorized, revoked] = [has(request, '--authorized'), has(request, '--revoked')];
  if (authorized && revoked) throw new CaRefusal('list: give either --authorized or --revoked', 2);
  const purpose = has(request, '--server') ? 'server' : 'client';
  const wanted = authorized ? 'authorized' : revoked ? 'revoked' : undefined;
  const authority = await open(request, 'read');
  const certificates = authority
    .certificates()
    .filter((entry) => entry.purpose === purpose && (wanted === undefined || entry.state === wanted));
  request.print(listText(certificates, Date.now()), certificates);
}

async function add(request: CaRequest): Promise<void> {
  const [file] = request.operands;
  const [serialNumber, issuer] = [one(request, '--serial'), one(request, '--issuer')];
  if (file !== undefined && (serialNumber !== undefined || issuer !== undefined))
    throw new CaRefusal('add: give either FILE or --serial and --issuer', 2);
  if (file === undefined && (serialNumber === undefined || issuer === undefined))
    throw new CaRefusal('add: FILE is missing, or --serial and --issuer; see dunlin ca --help', 2);
  const certificate = file === undefined ? undefined : readMaterial(file, undefined, undefined).chain[0]!;
  const authority = await open(request, 'use');
  const entry =
    certificate === undefined
      ? await authority.addIdentity({ serialNumber: serialNumber!, issuer: issuer! })
      : await authority.add(certificate);
  if (entry.state === 'revoked') request.warn('this certificate is on the list as revoked, and stays so');
  request.print(entryText(entry, stateOf(entry, Date.now())), entry);
}

async function revoke(request: CaRequest): Promise<void> {
  const reason = one(request, '--reason');
  if (reason !== undefined && !(revocationReasons as readonly string[]).includes(reason))
    throw new CaRefusal(`revoke: ${JSON.stringify(reason)} is no reason; there are ${revocationReasons.join(', ')}`, 2);
  const authority = await open(request, 'use');
  const [reference = ''] = request.operands;
  const ids = has(request, '--all') ? authority.findAll(reference).map(({ id }) => id) : [reference];
  const entries: ListedCertificate[] = [];
  for (const id of ids) entries.push(await authority.revoke(id, reason as RevocationReason | undefined));
  const { cannotIssue } = authority.describe();
  if (cannotIssue !== undefined)
    request.warn(
      'there is no revocation list without the key of the authority; this broker refuses the certificate all the same',
    );
  request.print(
    entries.map((entry) => entryText(entry, 'revoked')).join(''),
    has(request, '--all') ? entries : entries[0],
  );
}

async function authorize(request: CaRequest): Promise<void> {
  const authority = await open(request, 'use');
  const entry = await authority.authorize(request.operands[0]!, { force: has(request, '--force') });
  request.print(entryText(entry, stateOf(entry, Date.now())), entry);
}

async function remove(request: CaRequest): Promise<void> {
  const authority = await open(request, 'use');
  const entry = await authority.remove(request.operands[0]!);
  request.print(entryText(entry, 'removed'), { ...entry, removed: true });
}

async function crl(request: CaRequest): Promise<void> {
  const refresh = has(request, '--refresh');
  const authority = await open(request, refresh ? 'use' : 'read');
  if (refresh) await authority.refreshRevocationList();
  const form = has(request, '--der') ? 'der' : 'pem';
  const bytes = authority.revocationList(form);
  if (bytes === undefined)
    throw new CaRefusal(`there is no revocation list: ${authority.describe().cannotIssue ?? 'it was not made yet'}`, 1);
  const place = reserve(request);
  const files = place?.write([{ name: '', contents: bytes, mode: 0o644 }]);
  const description = authority.describeRevocationList();
  if (files !== undefined) request.print(files.join('\n'), { ...description, files });
  else if (has(request, '--json'))
    request.print('', { ...description, crl: bytes.toString(form === 'der' ? 'base64' : 'latin1') });
  else request.printBytes(bytes);
}

// ---- the server ----

async function showServer(request: CaRequest): Promise<void> {
  printServer(request, await open(request, 'read'));
}

async function createServer(request: CaRequest): Promise<void> {
  const authority = await open(request, 'use');
  const names = all(request, '--name');
  await authority.createServer({ ...(names.length === 0 ? {} : { names }), ...terms(request) });
  printServer(request, authority);
}

async function importServer(request: CaRequest): Promise<void> {
  const { chain, key } = materialOf(request);
  if (key === undefined)
    throw new CaRefusal(`${request.operands[0]} holds no private key, and a server needs one; give it with --key`, 2);
  const authority = await open(request, 'use');
  await authority.importServer(chain, key);
  printServer(request, authority);
}

async function exportServer(request: CaRequest): Promise<void> {
  const authority = await open(request, 'read');
  const chain = authority.serverChain();
  if (chain.length === 0) throw new CaRefusal(`${request.folder} holds no certificate of the server`, 1);
  deliver(request, chain);
}

function printServer({ print, folder }: CaRequest, authority: CertificateAuthority): void {
  const server = authority.serverCertificate();
  if (server === undefined) throw new CaRefusal(`${folder} holds no certificate of the server`, 1);
  print(serverText(server), server);
}

// ---- arguments ----

function open(
  { folder, settings, warn }: CaRequest,
  mode: AuthorityHost['mode'] & string,
): Promise<CertificateAuthority> {
  const told = (_event: string, sentence: string) => warn(sentence);
  const log: Logger = { level: LogLevel.warning, error: told, warning: told, information: () => {}, debug: () => {} };
  return CertificateAuthority.open(folder, settings, { mode, log });
}

const one = ({ options }: CaRequest, name: string): string | undefined => options[name]?.[0];
const all = ({ options }: CaRequest, name: string): readonly string[] => options[name] ?? [];
const has = ({ options }: CaRequest, name: string): boolean => name in options;

function terms(request: CaRequest): { days?: number; keyType?: KeyType } {
  const [days, keyType] = [one(request, '--days'), one(request, '--key-type')];
  if (days !== undefined && !/^[1-9]\d{0,5}$/.test(days))
    throw new CaRefusal(`--days takes a whole number of days, not ${JSON.stringify(days)}`, 2);
  if (keyType !== undefined && !(keyTypes as readonly string[]).includes(keyType))
    throw new CaRefusal(`--key-type takes one of ${keyTypes.join(', ')}, not ${JSON.stringify(keyType)}`, 2);
  return {
    ...(days === undefined ? {} : { days: Number(days) }),
    ...(keyType === undefined ? {} : { keyType: keyType as KeyType }),
  };
}

function materialOf(request: CaRequest): ReturnType<typeof readMaterial> {
  return readMaterial(request.operands[0]!, one(request, '--key'), readPassword(one(request, '--password-file')));
}

function bundlePassword(request: CaRequest): string | undefined {
  const password = readPassword(one(request, '--password-file'));
  const fault = password === undefined ? undefined : pkcs12PasswordFault(password);
  if (fault !== undefined) throw new CaRefusal(fault, 2);
  return password;
}

/** The name that was configured first, or else the machine's. */
function exampleHost(request: CaRequest, authority: CertificateAuthority): string {
  const given = one(request, '--host');
  if (given !== undefined) return readServerName(given).value;
  const names = authority.serverCertificate()?.names ?? [];
  return names.find((name) => isIP(name) === 0 && !name.startsWith('*')) ?? names[0] ?? 'localhost';
}

function examplePort(request: CaRequest): number {
  const given = one(request, '--port');
  if (given === undefined) return request.settings.port;
  if (!/^[1-9]\d{0,4}$/.test(given) || Number(given) > 65535)
    throw new CaRefusal(`--port takes a number from 1 to 65535, not ${JSON.stringify(given)}`, 2);
  return Number(given);
}

function reserve(request: CaRequest): Place | undefined {
  const path = one(request, '--out');
  return path === undefined ? undefined : Place.file(path);
}

async function orGiveUp<Result>(place: Place | undefined, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    place?.giveUp();
    throw error;
  }
}

/** Certificates without a key, into `--out` or onto standard output. */
function deliver(request: CaRequest, chain: readonly X509Certificate[]): void {
  const certificatePem = chain.map(String).join('');
  const place = reserve(request);
  const files = place?.write([{ name: '', contents: certificatePem, mode: 0o644 }]);
  if (files === undefined) request.print(certificatePem, { certificatePem });
  else request.print(files.join('\n'), { files });
}
