/**
 * The server's certificate and key (`server.pem`, `server.key`): made for the names of the machine or given ones, handed in, and
 * renewed when due unless handed in. Self-signed while the authority cannot sign.
 *
 * What a certificate says and when one is due is `server-certificate`'s.
 */
import { createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import type { AuthorityContext } from './authority-context.js';
import { authorityFault } from './authority-fault.js';
import { type CertificateAndKey, pairMark } from './authority-files.js';
import type { AuthorityPair } from './authority-pair.js';
import type { CertificateIndex } from './certificate-index.js';
import type { ServerRecord } from './certificate-list.js';
import { chainFrom } from './certificate-text.js';
import { makeKey, publicKeyFault } from './keys.js';
import type { Signer } from './making.js';
import { machineNames, readServerNames } from './names.js';
import type { KeyType } from './options.js';
import { describeServer, needsServerCertificate, type ServerCertificate, serverSubject } from './server-certificate.js';

export class ServerPair {
  private pair: CertificateAndKey | undefined;

  constructor(
    private readonly context: AuthorityContext,
    private readonly authority: AuthorityPair,
    private readonly index: CertificateIndex,
  ) {}

  read(): void {
    this.pair = this.context.files.readPair('server');
  }

  get mark(): string | undefined {
    return pairMark(this.pair);
  }

  /** The certificate with its issuers; empty when there is none. */
  get chain(): readonly X509Certificate[] {
    return this.pair?.chain ?? [];
  }

  describe(): ServerCertificate | undefined {
    const [certificate] = this.chain;
    return certificate === undefined ? undefined : describeServer(certificate, this.record?.origin ?? 'imported');
  }

  /** For `names` or else those of the machine, with a new key. */
  async create(terms: { names?: readonly string[]; days?: number; keyType?: KeyType }): Promise<void> {
    const names = terms.names ?? [];
    readServerNames(names);
    const origin = names.length === 0 ? 'automatic' : 'created';
    const key = await makeKey(terms.keyType ?? this.context.settings.keyType);
    await this.make({ origin, names }, key, terms.days);
  }

  /** Errors: `Fault` CA_INPUT when the key is another one's. */
  import(chain: readonly X509Certificate[], key: KeyObject): void {
    if (!chain[0]!.checkPrivateKey(key))
      throw authorityFault('CA_INPUT', 'the private key is not that of the certificate');
    const fault = publicKeyFault(createPublicKey(key));
    if (fault !== undefined) throw authorityFault('CA_INPUT', fault);
    this.replace({ chain: chainFrom(chain), key }, { origin: 'imported', names: [] });
  }

  /** Names it will have besides the machine's and the configured ones, from the next one on. */
  remember(names: readonly string[]): void {
    this.index.write(this.index.list.replace({ server: { origin: 'automatic', names } }));
  }

  async renewWhenDue(): Promise<void> {
    const { settings, log, clock } = this.context;
    const { record } = this;
    const due = needsServerCertificate({
      certificate: this.pair?.chain[0],
      hasKey: this.pair?.key !== undefined,
      record,
      configuredNames: settings.serverNames,
      authority: this.authority.certificate,
      canIssue: this.authority.cannotIssue() === undefined,
      nowMs: clock.nowMs(),
    });
    if (due === undefined) return;
    const { origin, names } = record ?? { origin: 'automatic' as const, names: [] };
    if (origin === 'imported') {
      log.warning('authority.server-expires', `The server certificate was imported and is not renewed here: ${due}.`);
      return;
    }
    // The same key: programs that know the server by its key go on knowing it.
    await this.make({ origin, names }, this.pair?.key ?? (await makeKey(settings.keyType)), undefined);
    log.information('authority.server-renewed', `A server certificate was made: ${due}.`);
  }

  private get record(): ServerRecord | undefined {
    return this.index.list.data.server;
  }

  private async make(
    record: { origin: 'automatic' | 'created'; names: readonly string[] },
    key: KeyObject,
    days = this.context.settings.serverDays,
  ): Promise<void> {
    const { authority, index } = this;
    const names =
      record.origin === 'created'
        ? readServerNames(record.names)
        : machineNames([...this.context.settings.serverNames, ...record.names]);
    const signed = authority.cannotIssue() === undefined;
    const signer: Signer = signed ? authority.signer() : { certificate: undefined, key };
    const terms = { subject: serverSubject(names), publicKey: createPublicKey(key), purpose: 'server' as const, names };
    const { certificate } = await authority.certificateFor(terms, days, signer);
    if (signed) index.writeEntry(index.entryFor(certificate, 'server', 'issued'), certificate);
    this.replace({ chain: signed ? authority.withIssuers(certificate) : [certificate], key }, record);
  }

  /** After a crash between the two, maintenance looks at the certificate again. */
  private replace(pair: CertificateAndKey, record: ServerRecord): void {
    this.context.files.writePair('server', pair, this.context.clock.nowMs());
    this.pair = pair;
    this.index.write(this.index.list.replace({ server: record }));
  }
}
