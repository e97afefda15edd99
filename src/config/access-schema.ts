/** Settings of authentication and authorization: who may connect, and what for. */
import {
  administrations,
  hashProblem,
  passwordAlgorithms,
  patternProblem,
  roleEntryTypes,
  ruleActions,
  ruleFilterProblem,
  templateProblem,
} from '../policy/index.js';
import { isNetwork } from './address.js';
import { boolean, choice, group, integer, list, map, text, variant } from './setting.js';

const bytesOf = (value: string) => Buffer.byteLength(value);
const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);
const isShort = (value: string) => bytesOf(value) >= 1 && bytesOf(value) <= 1024 && printable(value);
const apply = 'live';

const nameText = 'text of 1 to 64 letters, digits, `.`, `_`, `-`';
const isName = (value: string) => /^[A-Za-z0-9._-]{1,64}$/.test(value);
const word = (sentence: string, fallback?: string) =>
  text({
    sentence,
    apply,
    allowed: 'text of 1 to 1024 bytes without control characters',
    check: isShort,
    default: fallback!,
  });
const optionalWord = (sentence: string) =>
  text({
    sentence,
    apply,
    allowed: 'text of 1 to 1024 bytes without control characters',
    check: isShort,
    optional: true,
  });
const words = (sentence: string, item: string) =>
  list({
    sentence,
    apply,
    default: [],
    item: text({
      sentence: item,
      apply,
      allowed: 'text of 1 to 1024 bytes without control characters',
      check: isShort,
    }),
  });
const file = (sentence: string) =>
  text({ sentence, apply, allowed: 'path', check: (value) => isShort(value), optional: true });
const neededFile = (sentence: string) => text({ sentence, apply, allowed: 'path', check: (value) => isShort(value) });
const number = (sentence: string, minimum: number, maximum: number, value: number) =>
  integer({ sentence, apply, minimum, maximum, default: value });
const seconds = (sentence: string, minimum: number, maximum: number, value: number) =>
  integer({ sentence, apply, unit: 'seconds', minimum, maximum, default: value });

const name = text({
  sentence: 'Name of the source, for listeners, logs and the status; no two have the same.',
  apply,
  allowed: nameText,
  check: isName,
  defaultText: 'its type',
  computed: ({ type }) => type,
});

const template = (sentence: string, place: 'login' | 'rule' | 'question') =>
  text({
    sentence,
    apply,
    allowed: 'text with variables such as `${username}`',
    check: (value: string) => value !== '' && bytesOf(value) <= 65_536 && templateProblem(value, place) === undefined,
  });
const pattern = (sentence: string) =>
  text({
    sentence,
    apply,
    allowed: 'text, or a regular expression between slashes',
    check: (value) => bytesOf(value) <= 1024 && patternProblem(value) === undefined,
  });
const patterns = (sentence: string, item: string) => list({ sentence, apply, default: [], item: pattern(item) });
const networks = (sentence: string) =>
  list({
    sentence,
    apply,
    default: [],
    item: text({
      sentence: 'An address or network.',
      apply,
      allowed: 'IPv4 or IPv6 address, or network such as `10.0.0.0/8`',
      check: isNetwork,
    }),
  });

const url = (schemes: string, example: string, sentence = 'Where it is.') =>
  text({
    sentence,
    apply,
    allowed: `URL such as \`${example}\``,
    check: (value) => new RegExp(`^(?:${schemes})://[^\\s/$]\\S*$`).test(value) && isShort(value),
    secret: true,
  });

const caFile = file('PEM file with the authorities that its certificate may come from, instead of those of Node.');
const external = {
  timeoutMs: integer({
    sentence: 'How long an answer may take; without one the client is refused.',
    apply,
    unit: 'milliseconds',
    minimum: 10,
    maximum: 60_000,
    default: 5000,
  }),
  requestsMax: number('Requests at one time, and connections to a database.', 1, 1000, 8),
  cacheSeconds: seconds('How long an answer that lets in is kept; 0 keeps none.', 0, 86_400, 60),
  refusedCacheSeconds: seconds('How long an answer that refuses is kept; 0 keeps none.', 0, 86_400, 10),
  cacheEntriesMax: number('Answers that are kept.', 0, 10_000_000, 10_000),
  caFile,
} as const;

const passwordFormat = {
  passwordAlgorithm: choice({
    sentence:
      'How `password_hash` was made; `auto` is any format that says so itself: scrypt, `$6$`, `$7$`, bcrypt, argon2.',
    apply,
    choices: passwordAlgorithms,
    default: 'auto',
  }),
  saltPosition: choice({
    sentence: 'Whether a `salt` column goes before or behind the password; for md5 and sha.',
    apply,
    choices: ['prefix', 'suffix'],
    default: 'prefix',
  }),
  pbkdf2Iterations: number('Iterations of `pbkdf2`.', 1, 10_000_000, 4096),
  pbkdf2Digest: choice({
    sentence: 'Digest of `pbkdf2`.',
    apply,
    choices: ['sha1', 'sha256', 'sha512'],
    default: 'sha256',
  }),
} as const;

const lookup = {
  check: choice({
    sentence: 'Whether what is found is compared with the password, or is enough by being there.',
    apply,
    choices: ['password', 'exists'],
    default: 'password',
  }),
  ...passwordFormat,
} as const;

const httpFields = (place: 'login' | 'question') => ({
  url: text({
    sentence: 'Where it is asked; variables may stand behind the host.',
    apply,
    allowed: 'URL that begins with `http://` or `https://` and a host without variables',
    check: (value) =>
      /^https?:\/\/[^\s/$?#]+(?:[/?]|$)/.test(value) && isShort(value) && templateProblem(value, place) === undefined,
  }),
  method: choice({ sentence: 'The method.', apply, choices: ['POST', 'GET'], default: 'POST' }),
  headers: map({ sentence: 'Header fields.', apply, item: template('A value.', place) }),
  body: map({ sentence: 'What a POST says, by names.', apply, item: template('A value.', place) }),
  bodyFormat: choice({ sentence: 'How it is written.', apply, choices: ['json', 'form'], default: 'json' }),
  ...external,
});

const sqlFields = (scheme: string, example: string, place: 'login' | 'rule') => ({
  url: url(scheme, example, 'Where the database is, and who the broker is there.'),
  query: template('What is asked; a variable is bound as a parameter, so it stands without quotes.', place),
  ...external,
});

const mongoFields = (place: 'login' | 'rule') => ({
  url: url(
    'mongodb(?:\\+srv)?',
    'mongodb://user:password@db.example/',
    'Where the database is, and who the broker is there.',
  ),
  database: word('The database.', 'mqtt'),
  collection: word('The collection.'),
  filter: text({
    sentence: 'What is looked for, as JSON; variables only inside of strings.',
    apply,
    allowed: 'JSON object such as `{"username": "${username}"}`',
    check: (value) => {
      try {
        const parsed: unknown = JSON.parse(value);
        return typeof parsed === 'object' && parsed !== null && templateProblem(value, place) === undefined;
      } catch {
        return false;
      }
    },
  }),
  ...external,
});

const redisFields = (place: 'login' | 'rule') => ({
  url: url('rediss?', 'redis://user:password@db.example:6379/0', 'Where it is, and who the broker is there.'),
  command: {
    ...template(
      'What is asked: GET, HMGET, HGETALL, EXISTS, SISMEMBER, SMEMBERS or LRANGE. A variable stays inside its argument.',
      place,
    ),
    allowed: 'one of these commands with its arguments, such as `HGETALL user:${username}`',
    check: (value: string) =>
      /^\s*(?:GET|HMGET|HGETALL|EXISTS|SISMEMBER|SMEMBERS|LRANGE)\s+\S/i.test(value) &&
      templateProblem(value, place) === undefined,
  },
  ...external,
});

const match = <Values>(what: string, values: (sentence: string) => Values) => ({
  name,
  deny: values(`${what} that are refused.`),
  admit: values(`${what} that are let in, without a password.`),
  require: values(`When given, others are refused, and these go on along the chain.`),
});

const claimValue = text({
  sentence: 'A value.',
  apply,
  allowed: 'text of at most 4096 bytes',
  check: (value) => bytesOf(value) <= 4096,
});
const listenerNames = words('Listeners where it counts; empty: all.', 'Name of a listener.');
const enabled = (sentence: string) => boolean({ sentence, apply, default: true });

export const authentication = list({
  sentence:
    'Who is asked about a client, one after the other, until one allows or denies; the end of the list denies. Empty: `users` alone.',
  apply,
  default: [],
  item: variant({
    sentence: 'One source.',
    apply,
    variants: {
      anonymous: group({ sentence: 'Lets clients in that give neither user name nor password.', fields: { name } }),
      users: group({ sentence: 'The `users` of this configuration, also by SCRAM.', fields: { name } }),
      passwordFile: group({
        sentence: 'Users of a file, which is read again when it changes.',
        fields: {
          name,
          path: neededFile('The file.'),
          format: choice({
            sentence: 'As `dunlin passwd` and `mosquitto_passwd` write it, or a table with a header line.',
            apply,
            choices: ['mosquitto', 'csv'],
            default: 'mosquitto',
          }),
          ...passwordFormat,
        },
      }),
      clientId: group({
        sentence: 'By client identifier.',
        fields: match('Client identifiers', (sentence) => patterns(sentence, 'A client identifier.')),
      }),
      ip: group({
        sentence: 'By address.',
        fields: match('Addresses', networks),
      }),
      certificate: group({
        sentence: 'By the certificate of the client.',
        fields: {
          name,
          username: choice({
            sentence: 'What of the certificate is the user name.',
            apply,
            choices: ['commonName', 'subject', 'serialNumber', 'thumbprint'],
            default: 'commonName',
          }),
          mustBeUser: boolean({
            sentence: 'Whether the user name has to be one of `users`.',
            apply,
            default: false,
          }),
          onlyListed: boolean({
            sentence: 'Whether certificates that are not listed are refused, trusted or not.',
            apply,
            default: false,
          }),
          listed: list({
            sentence: 'Certificates by thumbprint, or by serial number and issuer.',
            apply,
            default: [],
            item: group({
              sentence: 'One certificate.',
              fields: {
                thumbprint: {
                  ...optionalWord('SHA-256 of the certificate.'),
                  allowed: '64 hexadecimal digits, with or without colons',
                  check: (value: string) => /^(?:[0-9a-fA-F]{2}:?){32}$/.test(value),
                },
                serialNumber: {
                  ...optionalWord('Serial number, hexadecimal; with `issuer`.'),
                  allowed: 'hexadecimal digits, with or without colons',
                  check: (value: string) => /^(?:[0-9a-fA-F]:?){1,80}$/.test(value),
                },
                issuer: optionalWord('Distinguished name of the issuer, as in `CN=My CA,O=Example`.'),
                username: optionalWord('The user name, instead of that of the certificate.'),
                enabled: enabled('Whether it is let in.'),
                listeners: listenerNames,
              },
            }),
          }),
        },
      }),
      psk: group({
        sentence: 'By pre-shared key: its identity is the user name.',
        fields: {
          name,
          mustBeUser: boolean({ sentence: 'Whether the identity has to be one of `users`.', apply, default: false }),
        },
      }),
      jwt: group({
        sentence:
          'By a signed token (JSON Web Token), from the password, a cookie, or AUTH packets with method `JWT` or `OAUTHBEARER`.',
        fields: {
          name,
          from: choice({
            sentence: 'Where the token is.',
            apply,
            choices: ['password', 'username', 'cookie'],
            default: 'password',
          }),
          cookie: word('Name of the cookie of the WebSocket upgrade; only with `from` cookie.', 'token'),
          secret: {
            ...text({
              sentence: 'Shared secret for HS256, HS384 and HS512.',
              apply,
              allowed: 'text of at least 16 bytes',
              check: (value) => bytesOf(value) >= 16 && bytesOf(value) <= 4096,
              secret: true,
            }),
            optional: true as const,
          },
          secretEncoding: choice({
            sentence: 'How the secret is written.',
            apply,
            choices: ['text', 'base64'],
            default: 'text',
          }),
          publicKeyFiles: words('PEM files with public keys or certificates.', 'A file.'),
          jwksUrl: {
            ...url('https?', 'https://login.example/jwks.json', 'Where the public keys are.'),
            optional: true as const,
          },
          oidcIssuer: {
            ...url(
              'https?',
              'https://login.example',
              'Issuer whose OpenID Connect discovery tells where the keys are; tokens have to be its own.',
            ),
            optional: true as const,
          },
          caFile,
          algorithms: list({
            sentence: 'Signatures that are accepted.',
            apply,
            default: [],
            defaultText: 'those that fit the keys',
            item: choice({
              sentence: 'An algorithm.',
              apply,
              choices: [
                'HS256',
                'HS384',
                'HS512',
                'RS256',
                'RS384',
                'RS512',
                'PS256',
                'PS384',
                'PS512',
                'ES256',
                'ES384',
                'ES512',
                'EdDSA',
              ],
            }),
          }),
          issuer: optionalWord('What `iss` has to be.'),
          audience: words('One of these has to be in `aud`.', 'An audience.'),
          claims: map({
            sentence:
              'What other claims have to be or hold; `%u`, `%c`, `%l` and `%a` stand for user name, client identifier, listener and address.',
            apply,
            item: claimValue,
          }),
          clockToleranceSeconds: seconds('How far the clocks may be apart.', 0, 3600, 5),
          requireExpiry: boolean({ sentence: 'Whether tokens without `exp` are refused.', apply, default: true }),
          disconnectAtExpiry: boolean({
            sentence: 'Whether the connection ends when the token expires.',
            apply,
            default: true,
          }),
          usernameClaim: word('Claim with the user name.', 'sub'),
          clientIdClaim: optionalWord('Claim that has to be the client identifier.'),
          rolesClaim: word('Claim with a list of roles.', 'roles'),
          groupsClaim: word('Claim with a list of groups.', 'groups'),
          aclClaim: word('Claim with rules, for the source of type `identity` in `authorization`.', 'acl'),
          superuserClaim: optionalWord('Claim that is true for superusers.'),
          keysRefreshSeconds: seconds('How long fetched keys are used before they are fetched again.', 10, 86_400, 300),
          timeoutMs: external.timeoutMs,
        },
      }),
      ldap: group({
        sentence: 'By a directory: binds as the user, whose name is made from the user name or searched for.',
        fields: {
          name,
          url: url('ldaps?', 'ldaps://ldap.example:636', 'Where it is.'),
          startTls: boolean({
            sentence: 'Whether an `ldap` connection goes over to TLS first.',
            apply,
            default: false,
          }),
          bindDn: optionalWord('Who the broker is while it searches.'),
          bindPassword: {
            ...text({
              sentence: 'Its password.',
              apply,
              allowed: 'text of 1 to 1024 bytes',
              check: isShort,
              secret: true,
            }),
            optional: true as const,
          },
          userDn: {
            ...template('Distinguished name of a user, such as `uid=${username},ou=people,dc=example`.', 'login'),
            optional: true as const,
          },
          searchBase: optionalWord('Where users are searched for, instead of `userDn`.'),
          searchFilter: { ...template('How.', 'login'), default: '(uid=${username})' },
          groupBase: optionalWord('Where groups are searched for; without it there are none.'),
          groupFilter: {
            ...text({
              sentence: 'Which groups a user is in; `${dn}` is the distinguished name of the user.',
              apply,
              allowed: 'LDAP filter with `${dn}` or `${username}`',
              check: (value) => isShort(value) && templateProblem(value.replaceAll('${dn}', ''), 'login') === undefined,
            }),
            default: '(member=${dn})',
          },
          groupAttribute: word('Attribute with the name of a group.', 'cn'),
          superuserGroup: optionalWord('Group whose members are superusers.'),
          ...external,
        },
      }),
      http: group({ sentence: 'By a login service.', fields: { name, ...httpFields('login') } }),
      postgresql: group({
        sentence: 'By a query to PostgreSQL.',
        fields: {
          name,
          ...sqlFields('postgres(?:ql)?', 'postgresql://user:password@db.example:5432/mqtt', 'login'),
          ...lookup,
        },
      }),
      mysql: group({
        sentence: 'By a query to MySQL or MariaDB.',
        fields: { name, ...sqlFields('mysql', 'mysql://user:password@db.example:3306/mqtt', 'login'), ...lookup },
      }),
      mongodb: group({ sentence: 'By a document of MongoDB.', fields: { name, ...mongoFields('login'), ...lookup } }),
      redis: group({ sentence: 'By a key of Redis.', fields: { name, ...redisFields('login'), ...lookup } }),
    },
  }),
});

const ruleFilter = text({
  sentence: 'A topic filter, with variables.',
  apply,
  allowed: 'topic filter with `%u`, `%c`, `%a`, `%l` or `%{name}`, `eq ` before one that is meant literally',
  check: (value) => ruleFilterProblem(value) === undefined,
});
const permit = choice({ sentence: 'Whether it allows or denies.', apply, choices: ['allow', 'deny'] });

const rule = group({
  sentence: 'One rule; the first that decides counts.',
  fields: {
    permit,
    action: choice({ sentence: 'What it is about.', apply, choices: ruleActions, default: 'all' }),
    filters: list({ sentence: 'Topics.', apply, default: [], itemsMin: 1, item: ruleFilter }),
    who: group({
      sentence: 'Whom it is about; every condition that is given has to hold.',
      fields: {
        usernames: patterns('User names.', 'A user name.'),
        clientIds: patterns('Client identifiers.', 'A client identifier.'),
        addresses: networks('Addresses.'),
        listeners: listenerNames,
        roles: words('Roles.', 'A role.'),
        groups: words('Groups.', 'A group.'),
        certificates: patterns('Common names of certificates.', 'A common name.'),
      },
    }),
    qos: list({
      sentence: 'QoS of the message or subscription; empty: any.',
      apply,
      default: [],
      item: integer({ sentence: 'A QoS.', apply, minimum: 0, maximum: 2 }),
    }),
    retain: choice({ sentence: 'Retain flag of a publish.', apply, choices: ['any', 'true', 'false'], default: 'any' }),
  },
});

const access = (what: string) =>
  choice({
    sentence: `What holds for ${what} that no role decides.`,
    apply,
    choices: ['allow', 'deny', 'next'],
    default: 'next',
  });

export const authorization = group({
  sentence: 'What clients may do.',
  fields: {
    sources: list({
      sentence: 'Who is asked, one after the other, until one decides. Empty: everything is allowed.',
      apply,
      default: [],
      item: variant({
        sentence: 'One source.',
        apply,
        variants: {
          rules: group({
            sentence: 'Rules of this configuration.',
            fields: { name, rules: list({ sentence: 'The rules, in order.', apply, default: [], item: rule }) },
          }),
          rulesFile: group({
            sentence: 'A YAML file with a list of such rules, read again when it changes.',
            fields: { name, path: neededFile('The file.') },
          }),
          mosquittoAclFile: group({
            sentence: 'An ACL file of Mosquitto, read again when it changes.',
            fields: { name, path: neededFile('The file.') },
          }),
          roles: group({
            sentence: 'The `roles` and `groups` of this configuration.',
            fields: {
              name,
              anonymousGroup: optionalWord('Group of clients without a user name.'),
              publishClientSend: access('publishes'),
              publishClientReceive: access('deliveries'),
              subscribe: access('subscriptions'),
              unsubscribe: access('unsubscribes'),
            },
          }),
          identity: group({
            sentence: 'The rules that authentication found: claims of a token, the answer of a login service.',
            fields: { name },
          }),
          http: group({
            sentence: 'A service that is asked about each question.',
            fields: { name, ...httpFields('question') },
          }),
          postgresql: group({
            sentence: 'Rules from PostgreSQL.',
            fields: {
              name,
              ...sqlFields('postgres(?:ql)?', 'postgresql://user:password@db.example:5432/mqtt', 'rule'),
            },
          }),
          mysql: group({
            sentence: 'Rules from MySQL or MariaDB.',
            fields: { name, ...sqlFields('mysql', 'mysql://user:password@db.example:3306/mqtt', 'rule') },
          }),
          mongodb: group({ sentence: 'Rules from MongoDB.', fields: { name, ...mongoFields('rule') } }),
          redis: group({ sentence: 'Rules from Redis.', fields: { name, ...redisFields('rule') } }),
        },
      }),
    }),
    noMatch: choice({
      sentence: 'What holds when no source decides; does not count while there are no sources.',
      apply,
      choices: ['allow', 'deny'],
      default: 'deny',
    }),
    denyAction: choice({
      sentence: 'Whether a client that does what it may not is also disconnected.',
      apply,
      choices: ['ignore', 'disconnect'],
      default: 'ignore',
    }),
    cacheTopicsMax: number('Topics whose verdicts are kept for one client.', 0, 100_000, 128),
    checkRetainedSource: boolean({
      sentence: 'Whether retained messages go to new subscriptions only while whoever published them may still do so.',
      apply,
      default: false,
    }),
  },
});

export const roles = list({
  sentence: 'Roles: what whoever has them may do. They count where `authorization` has a source of type `roles`.',
  apply,
  default: [],
  item: group({
    sentence: 'One role.',
    fields: {
      name: text({ sentence: 'Its name; no two have the same.', apply, allowed: nameText, check: isName }),
      priority: integer({
        sentence: 'The role of higher priority is asked first.',
        apply,
        minimum: -1_000_000,
        maximum: 1_000_000,
        default: 0,
      }),
      entries: list({
        sentence: 'What it allows and denies.',
        apply,
        default: [],
        item: group({
          sentence: 'One entry.',
          fields: {
            type: choice({ sentence: 'What it is about.', apply, choices: roleEntryTypes }),
            filter: ruleFilter,
            permit,
            priority: integer({
              sentence: 'The entry of higher priority is asked first.',
              apply,
              minimum: -1_000_000,
              maximum: 1_000_000,
              default: 0,
            }),
          },
        }),
      }),
    },
  }),
});

export const groups = list({
  sentence: 'Groups of users, each with roles.',
  apply,
  default: [],
  item: group({
    sentence: 'One group.',
    fields: {
      name: text({ sentence: 'Its name; no two have the same.', apply, allowed: nameText, check: isName }),
      priority: integer({
        sentence: 'The group of higher priority is asked first.',
        apply,
        minimum: -1_000_000,
        maximum: 1_000_000,
        default: 0,
      }),
      roles: words('Its roles.', 'A role.'),
    },
  }),
});

/** Beside `username` and `password`. */
export const userFields = {
  passwordHash: {
    ...text({
      sentence: 'Hash of the password, instead of the password: scrypt, `$6$`, `$7$`, bcrypt or argon2.',
      apply,
      allowed: 'hash that begins with `$scrypt$`, `$6$`, `$7$`, `$2b$` or `$argon2`',
      check: (value) => hashProblem(value) === undefined,
      secret: true,
    }),
    optional: true as const,
  },
  roles: words('Roles of the user.', 'A role.'),
  groups: words('Groups of the user.', 'A group.'),
  superuser: boolean({ sentence: 'Whether the user is allowed everything.', apply, default: false }),
  administration: choice({
    sentence: 'What the user may do in the administration of the broker.',
    apply,
    choices: administrations,
    default: 'none',
  }),
  enabled: enabled('Whether the user may come in.'),
  listeners: listenerNames,
};

/** Of a listener. */
export const listenerAuthentication = words(
  'The sources of `authentication` that count here, by their names, in this order; empty: all.',
  'Name of a source.',
);
export const listenerAuthorization = words(
  'The sources of `authorization` that count here, by their names, in this order; empty: all.',
  'Name of a source.',
);
