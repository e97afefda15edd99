/** What settings of TLS contradict each other, before any file is read. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../../src/config/index.js';

const problemsOf = (listener: string) =>
  parseConfig(`listeners:\n  - { name: a, ${listener} }\n`, 'x.yaml').problems.map(
    ({ key, sentence }) => `${key}: ${sentence}`,
  );

describe('settings of TLS', () => {
  const good = [
    'protocol: mqtts, tls: { onlyListed: true }',
    'protocol: mqtts, tls: { trustListed: true }',
    'protocol: mqtts, tls: { certificate: a, ciphers: "ECDHE+AESGCM:!aNULL", cipherSuites: TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384 }',
    'protocol: mqtts, tls: { certificate: a.pem, key: a.key }',
    'protocol: wss, tls: { keystore: a.jks, keystorePassword: x }',
    'protocol: mqtts, tls: { psk: { file: keys } }',
    'protocol: mqtts, tls: { certificate: a, clientCa: [b], crl: [c], ocsp: soft }',
    'protocol: mqtts, tls: { certificate: a, servers: [{ names: ["*.example.org"], certificate: b }] }',
  ];
  for (const listener of good)
    it(`${listener} is right`, () => assert.deepEqual(problemsOf(`${listener}, allowAnonymous: true`), []));

  const wrong: [string, string][] = [
    [
      'protocol: mqtt, tls: { certificate: a }',
      'listeners[0].tls: is allowed only with protocol mqtts or wss; this listener has mqtt',
    ],
    [
      'protocol: mqtts, tls: { authority: false }',
      'listeners[0].tls: protocol mqtts needs certificate and key, a keystore, psk, or authority',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, trustListed: true }',
      'listeners[0].tls.trustListed: needs authority: its list is meant',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, keystore: b, keystorePassword: c }',
      'listeners[0].tls.keystore: is not allowed together with certificate',
    ],
    [
      'protocol: mqtts, tls: { keystore: b.jks }',
      'listeners[0].tls.keystorePassword: is missing; b.jks cannot be opened without it',
    ],
    ['protocol: mqtts, tls: { psk: { file: k }, key: b }', 'listeners[0].tls.key: is given without certificate'],
    [
      'protocol: mqtts, tls: { certificate: a, versionMin: TLSv1.3, versionMax: TLSv1.2 }',
      'listeners[0].tls.versionMin: TLSv1.3 is newer than versionMax, TLSv1.2',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, clientCertificate: require }',
      'listeners[0].tls.clientCertificate: needs clientCa, trustSystemStore or authority: nothing else says whom to trust',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, clientCertificate: off, clientCa: [b] }',
      'listeners[0].tls.clientCa: has no effect while clientCertificate is off',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, clientCertificate: off, trustSystemStore: true }',
      'listeners[0].tls.trustSystemStore: has no effect while clientCertificate is off',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, cipherSuites: AES_128_GCM_SHA256 }',
      'listeners[0].tls.cipherSuites: found "AES_128_GCM_SHA256", allowed is names such as `TLS_AES_128_GCM_SHA256`, joined by `:`',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, ciphers: "ECDHE+AESGCM:TLS_AES_128_GCM_SHA256" }',
      'listeners[0].tls.ciphers: found "ECDHE+AESGCM:TLS_AES_128_GCM_SHA256", allowed is list as OpenSSL writes it, such as `ECDHE+AESGCM:!aNULL`; suites of TLS 1.3 stand in `cipherSuites`',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, psk: { identityAsUsername: true } }',
      'listeners[0].tls.psk.identityAsUsername: has no effect without identities and file',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, servers: [{ names: [b, C], certificate: b }, { names: [c], certificate: d }] }',
      'listeners[0].tls.servers[1].names[0]: c has a certificate already',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, crl: [b] }',
      'listeners[0].tls.crl: has no effect while clientCertificate is off',
    ],
    [
      'protocol: wss, tls: { certificate: a, alpn: [mqtt] }',
      'listeners[0].tls.alpn: is allowed only with protocol mqtts; wss is HTTP to ALPN',
    ],
    [
      'protocol: mqtts, tls: { psk: { file: k }, cipherSuites: TLS_AES_256_GCM_SHA384 }',
      'listeners[0].tls.cipherSuites: needs a suite with SHA256 first: pre-shared keys work with those only',
    ],
    [
      'protocol: mqtts, tls: { psk: { file: k }, servers: [{ names: [a], certificate: b }] }',
      'listeners[0].tls.servers: needs a certificate of the listener too, for clients that ask for other names',
    ],
    [
      'protocol: mqtts, tls: { certificate: a, servers: [{ names: [b] }] }',
      'listeners[0].tls.servers[0]: needs certificate and key, or a keystore',
    ],
    [
      'protocol: mqtts, tls: { psk: { identities: [{ identity: a, key: "12345" }] } }',
      'listeners[0].tls.psk.identities[0].key: found a value that does not fit, allowed is even number of 2 to 512 hexadecimal digits',
    ],
    [
      'protocol: mqtts, tls: { certficate: a }',
      'listeners[0].tls.certficate: unknown setting; did you mean certificate?',
    ],
    [
      'protocol: mqtts, path: /x, tls: { certificate: a }',
      'listeners[0].path: is allowed only with protocol ws or wss; this listener has mqtts',
    ],
  ];
  for (const [listener, problem] of wrong)
    it(`${listener} is wrong`, () => {
      const problems = problemsOf(`${listener}, allowAnonymous: true`);
      assert.ok(problems.includes(problem), problems.join('\n'));
    });

  it('have the usual ports', () => {
    const { config } = parseConfig(
      'listeners:\n  - { protocol: mqtts, tls: { psk: { file: k } }, allowAnonymous: true }\n  - { protocol: wss, tls: { psk: { file: k } }, allowAnonymous: true }\n',
      'x.yaml',
    );
    assert.deepEqual(
      config?.listeners.map(({ name, port }) => [name, port]),
      [
        ['mqtts-8883', 8883],
        ['wss-8084', 8084],
      ],
    );
  });
});
