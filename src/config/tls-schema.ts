/** Settings of TLS on a listener. */
import { boolean, choice, group, integer, list, text } from './setting.js';

const bytesOf = (value: string) => Buffer.byteLength(value);
const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);
const isPath = (value: string) => value !== '' && bytesOf(value) <= 4096 && printable(value);

const file = (sentence: string) =>
  text({ sentence, apply: 'restart', allowed: 'path of a file', check: isPath, optional: true });
const password = (sentence: string) =>
  text({
    sentence,
    apply: 'restart',
    allowed: 'text of at most 1024 bytes',
    check: (value) => bytesOf(value) <= 1024,
    secret: true,
    optional: true,
  });
const paths = (sentence: string, what: string) =>
  list({
    sentence,
    apply: 'restart',
    default: [],
    item: text({ sentence: `A ${what}.`, apply: 'restart', allowed: `path of a ${what}`, check: isPath }),
  });

const keyMaterial = {
  certificate: file('PEM file with the certificate, followed by those of its issuers.'),
  key: file('PEM file with the private key; without it the key is looked for in the file of the certificate.'),
  keyPassword: password('Password of an encrypted private key.'),
  keystore: file('PKCS#12 file or Java keystore with certificate and private key, instead of PEM files.'),
  keystorePassword: password('Password of the keystore and of the private key in it: both must have the same.'),
  keystoreType: choice({
    sentence: 'What kind of keystore it is; `auto` looks at the file.',
    apply: 'restart',
    choices: ['auto', 'pkcs12', 'jks'],
    default: 'auto',
  }),
  keystoreEntry: text({
    sentence: 'Name (alias) of the private key in a keystore with several.',
    apply: 'restart',
    allowed: 'text of 1 to 256 bytes',
    check: (value) => value !== '' && bytesOf(value) <= 256,
    optional: true,
  }),
} as const;

const cipherNames = (sentence: string, allowed: string, fits: RegExp) =>
  text({
    sentence,
    apply: 'restart',
    allowed,
    check: (value) => value.length <= 4096 && fits.test(value),
    default: '',
    defaultText: 'those with forward secrecy first',
  });

const usesKeys = (psk: { identities?: unknown[]; file?: string } | undefined) =>
  psk !== undefined && ((psk.identities?.length ?? 0) > 0 || psk.file !== undefined);

const isServerName = (value: string) =>
  value.length <= 253 && /^(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$/.test(value);

export const tlsSettings = group({
  sentence: 'TLS of a listener; only with protocols `mqtts` and `wss`.',
  fields: {
    ...keyMaterial,
    authority: boolean({
      sentence:
        'Whether the built-in certificate authority (`certificateAuthority`) serves this listener: its certificate for the server is shown where no other is given, clients with its certificates are trusted, and those it has revoked are refused.',
      apply: 'restart',
      defaultText: 'true where there is no `certificate`, `keystore` or `psk`, else false',
      computed: ({ certificate, keystore, psk }) =>
        certificate === undefined &&
        keystore === undefined &&
        !usesKeys(psk as { identities?: unknown[]; file?: string }),
    }),
    onlyListed: boolean({
      sentence:
        'Whether clients are let in only when the list of the authority authorizes them, trusted or not. Only with `authority`.',
      apply: 'restart',
      default: false,
    }),
    trustListed: boolean({
      sentence:
        'Whether a client that the list of the authority authorizes is let in though its chain is not trusted. Only with `authority`.',
      apply: 'restart',
      default: false,
    }),
    versionMin: choice({
      sentence: 'Oldest TLS version spoken.',
      apply: 'restart',
      choices: ['TLSv1.2', 'TLSv1.3'],
      default: 'TLSv1.2',
    }),
    versionMax: choice({
      sentence: 'Newest TLS version spoken.',
      apply: 'restart',
      choices: ['TLSv1.2', 'TLSv1.3'],
      default: 'TLSv1.3',
    }),
    ciphers: cipherNames(
      'Ciphers of TLS 1.2, the preferred first.',
      'list as OpenSSL writes it, such as `ECDHE+AESGCM:!aNULL`; suites of TLS 1.3 stand in `cipherSuites`',
      // Node takes both from one list, and switches off the version of which it finds none.
      /^(?!(.*:)?TLS_)[A-Za-z0-9_:+!@=.,\- ]*$/,
    ),
    cipherSuites: cipherNames(
      'Cipher suites of TLS 1.3, the preferred first; with pre-shared keys one with SHA-256 has to be first.',
      'names such as `TLS_AES_128_GCM_SHA256`, joined by `:`',
      /^(TLS_[A-Z0-9_]+(:TLS_[A-Z0-9_]+)*)?$/,
    ),
    servers: list({
      sentence: 'Certificates for some of the names under which clients ask for this listener (SNI).',
      apply: 'restart',
      default: [],
      item: group({
        sentence: 'One certificate.',
        fields: {
          names: list({
            sentence: 'Names for which this certificate is shown; `*.example.org` stands for one label.',
            apply: 'restart',
            default: [],
            itemsMin: 1,
            item: text({
              sentence: 'A host name.',
              apply: 'restart',
              allowed: 'host name, or `*.` and a host name',
              check: isServerName,
            }),
          }),
          ...keyMaterial,
        },
      }),
    }),
    sessionTickets: boolean({
      sentence: 'Whether clients may resume a session without a full handshake; never where `psk` or `ocsp` is used.',
      apply: 'restart',
      default: true,
    }),
    clientCertificate: choice({
      sentence:
        'Whether clients are asked for a certificate: not at all, asked (one that is shown has to be trusted), or let in only with one.',
      apply: 'restart',
      choices: ['off', 'request', 'require'],
      defaultText:
        '`require` when `clientCa`, `trustSystemStore` or `onlyListed` is given, `request` with `trustListed`, else `off`',
      computed: ({ clientCa, trustSystemStore, onlyListed, trustListed }) => {
        const trusting = (Array.isArray(clientCa) && clientCa.length > 0) || trustSystemStore === true;
        if (trusting || onlyListed === true) return 'require';
        return trustListed === true ? 'request' : 'off';
      },
    }),
    clientCa: paths('Authorities whose client certificates are trusted.', 'PEM file or folder of such files'),
    trustSystemStore: boolean({
      sentence: 'Whether client certificates of the authorities that the operating system trusts are trusted as well.',
      apply: 'restart',
      default: false,
    }),
    crl: paths('Revocation lists, in PEM or DER, of the authorities in `clientCa`.', 'file'),
    crlExpired: choice({
      sentence: 'What a revocation list past its date means for clients of its issuer.',
      apply: 'restart',
      choices: ['refuse', 'accept'],
      default: 'refuse',
    }),
    ocsp: choice({
      sentence:
        'Whether the OCSP responder that a client certificate names is asked about it: not, `soft` (no answer lets the client in), `hard` (no answer refuses it).',
      apply: 'restart',
      choices: ['off', 'soft', 'hard'],
      default: 'off',
    }),
    ocspTimeoutSeconds: integer({
      sentence: 'How long a responder may take.',
      apply: 'restart',
      unit: 'seconds',
      minimum: 1,
      maximum: 60,
      default: 5,
    }),
    ocspStapling: boolean({
      sentence: "Whether the responder's answer about our own certificate is sent to clients that ask for it.",
      apply: 'restart',
      default: false,
    }),
    psk: group({
      sentence: 'Pre-shared keys, alone or beside a certificate.',
      fields: {
        identities: list({
          sentence: 'Who has which key.',
          apply: 'restart',
          default: [],
          item: group({
            sentence: 'One key.',
            fields: {
              identity: text({
                sentence: 'Identity that the client gives.',
                apply: 'restart',
                allowed: 'text of 1 to 128 bytes without control characters',
                check: (value) => bytesOf(value) >= 1 && bytesOf(value) <= 128 && printable(value),
              }),
              key: text({
                sentence: 'Its key, as `openssl rand -hex 32` writes one.',
                apply: 'restart',
                allowed: 'even number of 2 to 512 hexadecimal digits',
                check: (value) => /^([0-9a-fA-F]{2}){1,256}$/.test(value),
                secret: true,
              }),
            },
          }),
        }),
        file: file('File with a line `identity:hexkey` for each, as Mosquitto has it.'),
        hint: text({
          sentence: 'Hint sent to clients of TLS 1.2 to help them choose an identity; empty sends none.',
          apply: 'restart',
          allowed: 'text of at most 128 bytes without control characters',
          check: (value) => bytesOf(value) <= 128 && printable(value),
          default: '',
        }),
        identityAsUsername: boolean({
          sentence: 'Whether the identity is the user name, whatever CONNECT says; its key stands for the password.',
          apply: 'restart',
          default: false,
        }),
      },
    }),
    alpn: list({
      sentence:
        'Application protocols offered (ALPN); clients that ask for others are refused. Empty leaves it alone. Only with protocol `mqtts`.',
      apply: 'restart',
      default: [],
      item: text({
        sentence: 'A protocol.',
        apply: 'restart',
        allowed: 'text of 1 to 255 letters, digits, `.`, `_`, `-`, `/`',
        check: (value) => /^[A-Za-z0-9._/-]{1,255}$/.test(value),
      }),
    }),
    reloadOnChange: boolean({
      sentence: 'Whether files are read again by themselves when they change; SIGHUP reads them again in any case.',
      apply: 'restart',
      default: true,
    }),
  },
});
