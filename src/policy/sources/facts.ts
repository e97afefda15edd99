/**
 * What is known of a client, by the names that queries, URLs and rules use: `${username}` in the settings of a source, `%u` and
 * `%{username}` in a rule.
 */
import type { Client } from '../policy.js';

/** A question on a topic, for sources that are asked one by one. */
export interface Question {
  readonly action: 'publish' | 'subscribe' | 'receive';
  /** Topic Name or Topic Filter. */
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
}

export interface Facts {
  readonly client: Client;
  readonly password?: Uint8Array | undefined;
  readonly question?: Question;
}

type Read = (facts: Facts) => string | undefined;

const readers: Readonly<Record<string, Read>> = {
  username: ({ client }) => client.username,
  clientid: ({ client }) => client.clientId,
  ip: ({ client }) => (client.address === '' ? undefined : client.address),
  listener: ({ client }) => client.listener,
  protocolVersion: ({ client }) => String(client.protocolVersion),
  psk_identity: ({ client }) => client.pskIdentity,
  cert_cn: ({ client }) => client.certificate?.commonName,
  cert_subject: ({ client }) => client.certificate?.subject,
  cert_issuer: ({ client }) => client.certificate?.issuer,
  cert_serial: ({ client }) => client.certificate?.serialNumber,
  cert_thumbprint: ({ client }) => client.certificate?.thumbprint,
};
const withPassword: Readonly<Record<string, Read>> = {
  password: ({ password }) => (password === undefined ? undefined : Buffer.from(password).toString('utf8')),
};
const withQuestion: Readonly<Record<string, Read>> = {
  action: ({ question }) => question?.action,
  topic: ({ question }) => question?.topic,
  qos: ({ question }) => (question === undefined ? undefined : String(question.qos)),
  retain: ({ question }) => (question === undefined ? undefined : String(question.retain)),
};

/** Other spellings of the same. */
const aliases: Readonly<Record<string, string>> = {
  clientId: 'clientid',
  peerhost: 'ip',
  address: 'ip',
  cert_common_name: 'cert_cn',
  pskIdentity: 'psk_identity',
};

/** Where a text with variables stands decides what it may name. */
export type Place = 'login' | 'rule' | 'question';

/** How to read a variable; undefined when there is none of this name at this place. */
export function factReader(name: string, place: Place): Read | undefined {
  const known = Object.hasOwn(aliases, name) ? aliases[name]! : name;
  if (Object.hasOwn(readers, known)) return readers[known];
  if (place === 'login' && Object.hasOwn(withPassword, known)) return withPassword[known];
  if (place === 'question' && Object.hasOwn(withQuestion, known)) return withQuestion[known];
  if (name.startsWith('cookie.') && name.length > 7) {
    const cookie = name.slice(7);
    return ({ client: { cookies } }) =>
      cookies !== undefined && Object.hasOwn(cookies, cookie) ? cookies[cookie] : undefined;
  }
  if (place !== 'login' && name.startsWith('attribute.') && name.length > 10) {
    const attribute = name.slice(10);
    return ({ client: { identity } }) =>
      identity !== undefined && Object.hasOwn(identity.attributes, attribute)
        ? identity.attributes[attribute]
        : undefined;
  }
  return undefined;
}

/** Names as messages list them. */
export function factNames(place: Place): string {
  const names = [...Object.keys(readers), 'cookie.NAME'];
  if (place === 'login') names.push('password');
  else names.push('attribute.NAME');
  if (place === 'question') names.push(...Object.keys(withQuestion));
  return names.join(', ');
}
