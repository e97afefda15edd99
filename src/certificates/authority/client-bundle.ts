/**
 * The ready zip for one client: certificate, key, authority, and how Mosquitto's tools, MQTT.js and Paho for Python use them.
 * That for a server has no such examples: they would show its certificate as that of a client.
 *
 * Texts are safe to run whatever the client is called: file names hold letters, digits, `.`, `_` and `-` only, and everything
 * else is quoted for the language it stands in.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { privateKeyPem } from './keys.js';
import { makePkcs12 } from './pkcs12.js';
import { makeZip, type ZipEntry } from './zip.js';

export interface BundleContents {
  readonly commonName: string;
  readonly purpose: 'client' | 'server';
  /** The certificate itself first, then its issuers without the root. */
  readonly chain: readonly X509Certificate[];
  /** Absent when the client has made it and kept it. */
  readonly key: KeyObject | undefined;
  /** Whom the client trusts to have issued the server's certificate. */
  readonly authorities: readonly X509Certificate[];
  /** Where the client connects. */
  readonly host: string;
  readonly port: number;
  /** Adds the same as PKCS#12 under this password. */
  readonly password?: string | undefined;
}

const NAME_CHARACTERS_MAX = 64;
const reservedNames = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** A file name without ending that every system takes, made from a common name. */
export function fileNameFor(commonName: string): string {
  const name = commonName
    .replace(/[^A-Za-z0-9._-]+/g, '_')
    .replace(/^[.-]+/, '_')
    .slice(0, NAME_CHARACTERS_MAX);
  return name === '' || reservedNames.test(name) ? `client_${name}` : name;
}

/** The names of the files that `bundleFiles` makes. */
export function bundleFileNames(
  commonName: string,
  purpose: 'client' | 'server',
  withKey: boolean,
  withPassword: boolean,
): string[] {
  const name = fileNameFor(commonName);
  const keyFiles = withKey ? [`${name}.key`, ...(withPassword ? [`${name}.p12`] : [])] : [];
  const examples = purpose === 'client' ? ['mosquitto.sh', 'mqttjs.mjs', 'python.py'] : [];
  return [`${name}.crt`, 'ca.crt', 'README.txt', ...examples, ...keyFiles];
}

export async function makeBundle(contents: BundleContents, nowMs: number): Promise<Buffer> {
  return makeZip(await bundleFiles(contents), nowMs);
}

export async function bundleFiles(contents: BundleContents): Promise<ZipEntry[]> {
  const { commonName, purpose, chain, key, authorities, password } = contents;
  const name = fileNameFor(commonName);
  const files: ZipEntry[] = [
    { name: `${name}.crt`, contents: chain.map(String).join(''), mode: 0o644 },
    { name: 'ca.crt', contents: authorities.map(String).join(''), mode: 0o644 },
    { name: 'README.txt', contents: readme(contents, name), mode: 0o644 },
  ];
  if (purpose === 'client')
    files.push(
      { name: 'mosquitto.sh', contents: mosquittoScript(contents, name), mode: 0o755 },
      { name: 'mqttjs.mjs', contents: mqttjsScript(contents, name), mode: 0o644 },
      { name: 'python.py', contents: pahoScript(contents, name), mode: 0o644 },
    );
  if (key !== undefined) {
    files.push({ name: `${name}.key`, contents: privateKeyPem(key), mode: 0o600 });
    if (password !== undefined) {
      const certificates = [...chain, ...authorities];
      const store = await makePkcs12({ key, certificates, friendlyName: commonName, password });
      files.push({ name: `${name}.p12`, contents: store, mode: 0o600 });
    }
  }
  return files;
}

const shellQuoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
const quotedString = (text: string) => JSON.stringify(text).replace(/[\u007f-\uffff]/g, escapeUnit);
const escapeUnit = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
/** Python joins no surrogates. */
const pythonString = (text: string) =>
  JSON.stringify(text).replace(
    /[\u007f-\u{10ffff}]/gu,
    (character) => `\\U${character.codePointAt(0)!.toString(16).padStart(8, '0')}`,
  );

function readme({ commonName, purpose, chain, key, host, port, password }: BundleContents, name: string): string {
  const [certificate] = chain;
  const lines = [
    `Certificate of the MQTT ${purpose} ${commonName}`,
    '',
    ...(purpose === 'client'
      ? [`  server   ${host}, port ${port} (TLS)`]
      : [`  names    ${certificate!.subjectAltName ?? ''}`]),
    `  serial   ${certificate!.serialNumber}`,
    `  valid    ${certificate!.validFrom} to ${certificate!.validTo}`,
    '',
    `${name}.crt   the certificate`,
    ...(key === undefined
      ? [`${name}.key   is not here: the client has made its key itself; the examples look for it under this name`]
      : [`${name}.key   its private key: keep it secret, whoever has it is this ${purpose}`]),
    ...(key !== undefined && password !== undefined
      ? [`${name}.p12   both as PKCS#12, under the password chosen for it`]
      : []),
    'ca.crt   the authority that vouches for the server',
    '',
  ];
  if (purpose === 'server') return lines.join('\n');
  lines.push(
    'Examples, to be run in this folder:',
    '  sh mosquitto.sh      publishes with mosquitto_pub, then subscribes with mosquitto_sub',
    '  node mqttjs.mjs      MQTT.js (npm install mqtt)',
    '  python3 python.py    Paho (pip install paho-mqtt)',
    '',
  );
  return lines.join('\n');
}

function mosquittoScript({ commonName, host, port }: BundleContents, name: string): string {
  const options = [
    `-h ${shellQuoted(host)} -p ${port}`,
    `--cafile ca.crt --cert ${name}.crt --key ${name}.key`,
    `-i ${shellQuoted(commonName)}`,
  ].join(' ');
  return `#!/bin/sh
set -e
mosquitto_pub ${options} -q 1 -t hello -m 'it works'
exec mosquitto_sub ${options} -q 1 -t '#' -v "$@"
`;
}

function mqttjsScript({ commonName, host, port }: BundleContents, name: string): string {
  return `import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const client = mqtt.connect({
  protocol: 'mqtts',
  host: ${quotedString(host)},
  port: ${port},
  clientId: ${quotedString(commonName)},
  ca: readFileSync('ca.crt'),
  cert: readFileSync(${quotedString(`${name}.crt`)}),
  key: readFileSync(${quotedString(`${name}.key`)}),
});
client.on('error', (error) => console.error(error.message));
client.on('message', (topic, payload) => console.log(topic, payload.toString()));
client.on('connect', async () => {
  await client.subscribeAsync('#', { qos: 1 });
  await client.publishAsync('hello', 'it works', { qos: 1 });
});
`;
}

function pahoScript({ commonName, host, port }: BundleContents, name: string): string {
  return `import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, reason_code, properties):
    print("connected:", reason_code)
    client.subscribe("#", qos=1)
    client.publish("hello", "it works", qos=1)


def on_message(client, userdata, message):
    print(message.topic, message.payload)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=${pythonString(commonName)})
client.on_connect = on_connect
client.on_message = on_message
client.tls_set(ca_certs="ca.crt", certfile=${pythonString(`${name}.crt`)}, keyfile=${pythonString(`${name}.key`)})
client.connect(${pythonString(host)}, ${port})
client.loop_forever()
`;
}
