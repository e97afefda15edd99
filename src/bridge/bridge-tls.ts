/** What `node:tls` needs to know for a connection to a remote. Files are read anew for every attempt, so renewed ones count at once. */
import { type ConnectionOptions, createSecureContext, type PeerCertificate } from 'node:tls';
import { Fault } from '../base/index.js';
import { readKeyMaterial, readTrust } from '../certificates/index.js';
import type { BridgeTls } from './options.js';

/**
 * `where` is the path of the group of settings, for messages; undefined is returned for a bridge without TLS.
 * Errors  `Fault` TLS_MATERIAL_INVALID naming the first thing that is wrong.
 */
export function bridgeTls(settings: BridgeTls, where: string): ConnectionOptions | undefined {
  if (!settings.enabled) return undefined;
  const { psk, ciphers, versionMin, alpn, serverName } = settings;
  const common: ConnectionOptions = {
    minVersion: versionMin,
    ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
  const options: ConnectionOptions = psk.identity === undefined ? withCertificates(settings, where, common) : withKey();
  try {
    createSecureContext(options);
  } catch (error) {
    throw new Fault('TLS_MATERIAL_INVALID', `${where}: ${(error as Error).message}`, { cause: error });
  }
  return options;

  function withKey(): ConnectionOptions {
    return {
      ...common,
      // In TLS 1.3 a key goes with SHA-256 only.
      ciphers: `TLS_AES_128_GCM_SHA256:${ciphers === '' ? 'PSK' : ciphers}`,
      // Whoever shows a certificate has not used the key, even if the whole world trusts that certificate.
      ca: [],
      checkServerIdentity: refuseCertificate,
      pskCallback: () => ({ psk: Buffer.from(psk.key!, 'hex'), identity: psk.identity! }),
    };
  }
}

function refuseCertificate(_host: string, certificate: PeerCertificate): Error | undefined {
  if (certificate.raw === undefined) return undefined;
  return new Error('the remote showed a certificate instead of proving that it has the pre-shared key');
}

function withCertificates(settings: BridgeTls, where: string, common: ConnectionOptions): ConnectionOptions {
  const { ca, trustSystemStore, certificate, verifyHostname, insecure, ciphers } = settings;
  const trust = ca.length > 0 || trustSystemStore ? readTrust(ca, trustSystemStore, where, 'ca') : undefined;
  const own = certificate === undefined ? undefined : readKeyMaterial(settings, where);
  return {
    ...common,
    ...(ciphers === '' ? {} : { ciphers }),
    ...(trust === undefined ? {} : { ca: [...trust.pem] }),
    ...(own === undefined ? {} : { cert: own.certificatePem, key: own.keyPem }),
    ...(verifyHostname && !insecure ? {} : { checkServerIdentity: () => undefined }),
    rejectUnauthorized: !insecure,
  };
}
