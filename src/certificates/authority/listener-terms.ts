/**
 * Joins a listener to the authority: what its settings leave open is filled in, and what the handshake leaves open is answered.
 */
import type { ListenerTlsOptions, TlsSettings } from '../listener-tls.js';
import type { CertificateAuthority } from './certificate-authority.js';
import type { AcceptanceOptions } from './decide.js';

/**
 * The settings with the authority's server certificate where the listener has none of its own. Where clients are asked for
 * certificates, those of the authority are trusted besides what the settings name. Revoked ones are refused by `listenerHooks`, from
 * the list, which knows more than the authority's own revocation list and does not expire.
 */
export function withAuthority<Settings extends TlsSettings>(
  settings: Settings,
  authority: CertificateAuthority,
  { requireClientCertificate, onlyListed, trustListed }: AcceptanceOptions,
): Settings {
  const { paths } = authority;
  const own = settings.certificate !== undefined || settings.keystore !== undefined;
  const asked = settings.clientCertificate === 'off' && trustListed ? 'request' : settings.clientCertificate;
  const clientCertificate = requireClientCertificate || onlyListed ? 'require' : asked;
  return {
    ...settings,
    ...(own ? {} : { certificate: paths.certificate, key: paths.key }),
    clientCertificate,
    ...(clientCertificate === 'off' ? {} : { clientCa: [...settings.clientCa, paths.ca] }),
  };
}

/** What `ListenerTls` asks of a certificate besides its chain. */
export function listenerHooks(
  authority: CertificateAuthority,
  acceptance: AcceptanceOptions,
): Required<Pick<ListenerTlsOptions, 'acceptUntrusted' | 'refuseTrusted'>> {
  const judge = authority.judge(acceptance);
  return {
    acceptUntrusted: (certificate) => judge(certificate, false) === undefined,
    refuseTrusted: (certificate) => judge(certificate, true),
  };
}
