/** What the transport knows of a client before it has said anything: certificate, pre-shared key, cookies. */
import { describeCertificate } from '../certificates/index.js';
import type { Client } from '../policy/index.js';
import type { ByteStream } from '../transport/index.js';

export type TransportFacts = Pick<Client, 'certificate' | 'pskIdentity' | 'cookies'>;

const nothing: TransportFacts = {};

export function transportFacts({ security, cookieHeader }: ByteStream): TransportFacts {
  if (security === undefined && cookieHeader === undefined) return nothing;
  const shown = security?.certificate;
  const certificate = shown === undefined ? undefined : describeCertificate(shown.der, shown.trusted);
  return {
    ...(certificate === undefined ? {} : { certificate }),
    ...(security?.pskIdentity === undefined ? {} : { pskIdentity: security.pskIdentity }),
    ...(cookieHeader === undefined ? {} : { cookies: readCookies(cookieHeader) }),
  };
}

const COOKIES_MAX = 100;

/** RFC 6265 §4.2.1; the first of a name counts. */
function readCookies(header: string): Record<string, string> {
  const cookies: Record<string, string> = Object.create(null);
  for (const pair of header.split(';', COOKIES_MAX)) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, Math.max(0, equals)).trim();
    if (name === '' || name in cookies) continue;
    const value = pair.slice(equals + 1).trim();
    const quoted = value.length >= 2 && value.startsWith('"') && value.endsWith('"');
    cookies[name] = quoted ? value.slice(1, -1) : value;
  }
  return cookies;
}
