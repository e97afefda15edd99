/** Settings of the built-in certificate authority. */
import { CERTIFICATE_DAYS_MAX, keyTypes, usualAuthoritySettings as usual } from '../certificates/authority/options.js';
import { choice, group, integer, list, text } from './setting.js';

const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);

const days = (sentence: string, amount: number, maximum: number) =>
  integer({ sentence, apply: 'restart', unit: 'days', minimum: 1, maximum, default: amount });

export const authoritySettings = group({
  sentence: 'The built-in certificate authority.',
  fields: {
    folder: text({
      sentence:
        'Folder with the authority, the certificate of the server, the list of clients and the revocation list.',
      apply: 'restart',
      allowed: 'path',
      check: (value) => value !== '' && printable(value),
      default: './certificates',
    }),
    name: text({
      sentence: 'Common name of an authority that is created; empty for one with the name of the machine.',
      apply: 'restart',
      allowed: 'text of at most 64 characters without control characters',
      check: (value) => [...value].length <= 64 && value.trim() === value && printable(value),
      default: usual.name,
    }),
    days: days('How long an authority that is created is valid.', usual.days, CERTIFICATE_DAYS_MAX),
    keyType: choice({
      sentence: 'Key of the authority, of the server and of clients that are issued one.',
      apply: 'restart',
      choices: keyTypes,
      default: usual.keyType,
    }),
    serverNames: list({
      sentence:
        'Names and addresses by which clients reach the broker, besides the name of the machine and its addresses.',
      apply: 'restart',
      default: usual.serverNames,
      item: text({
        sentence: 'A name.',
        apply: 'restart',
        allowed: 'host name, `*.` and a host name, or IP address',
        check: (value) => /^[A-Za-z0-9_.:*-]{1,253}$/.test(value),
      }),
    }),
    serverDays: days(
      'How long a certificate of the server is valid; it is renewed when a third of that is left.',
      usual.serverDays,
      CERTIFICATE_DAYS_MAX,
    ),
    clientDays: days('How long a certificate of a client is valid.', usual.clientDays, CERTIFICATE_DAYS_MAX),
    crlDays: days(
      'How long a revocation list is valid; it is made anew when half of that is left.',
      usual.crlDays,
      3650,
    ),
    crlUrl: text({
      sentence: 'Where the revocation list is served, written into certificates; empty writes nothing.',
      apply: 'restart',
      allowed: 'URL with `http` or `https`',
      check: (value) => value === '' || /^https?:\/\/[\x21-\x7e]{1,1000}$/.test(value),
      default: usual.crlUrl,
    }),
  },
});
