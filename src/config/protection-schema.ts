/** Settings that keep clients from doing harm: rates, numbers of connections, bans, flapping, failed logins, overload. */
import { banKinds, rateOutcomes, rateScopes } from '../connection/index.js';
import { choice, group, integer, list, text } from './setting.js';

const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);
const bytesOf = (value: string) => Buffer.byteLength(value);

const count = (sentence: string, standard: number, maximum = 1_000_000_000) =>
  integer({ sentence, apply: 'live', minimum: 0, maximum, default: standard });
const seconds = (sentence: string, standard: number, minimum = 1) =>
  integer({ sentence, apply: 'live', minimum, maximum: 31_536_000, default: standard, unit: 'seconds' });
const names = (sentence: string) =>
  list({
    sentence,
    apply: 'live',
    default: [],
    item: text({
      sentence: 'A name.',
      apply: 'live',
      allowed: 'text of 1 to 256 bytes',
      check: (value) => value !== '' && bytesOf(value) <= 256 && printable(value),
    }),
  });

export const rateSettings = list({
  sentence: 'How fast clients may publish, and be delivered to; all rules that concern a client hold.',
  apply: 'live',
  default: [],
  item: group({
    sentence: 'One rule.',
    fields: {
      direction: choice({
        sentence: 'Messages that clients publish, or that are delivered to them.',
        apply: 'live',
        choices: ['publish', 'deliver'],
        default: 'publish',
      }),
      scope: choice({
        sentence:
          'Who shares the rate: each client has its own, all connections of a user, all of a listener, or all of the broker share it.',
        apply: 'live',
        choices: rateScopes,
        default: 'client',
      }),
      listeners: names('Listeners whose clients it concerns; empty is all.'),
      usernames: names('Users whom it concerns; empty is all.'),
      messagesPerSecond: count('Messages in a second; 0 is no limit.', 0),
      bytesPerSecond: integer({
        sentence: 'Bytes of these packets in a second; 0 is no limit.',
        apply: 'live',
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        default: 0,
        unit: 'bytes',
      }),
      burstSeconds: seconds('How long an unused rate is saved up for a burst.', 1),
      outcome: choice({
        sentence:
          'What becomes of what is above it: it waits (`delay`: its publisher is not read meanwhile; deliveries stay in the queue, those at QoS 0 are dropped), it is acknowledged and goes nowhere (`drop`), it is answered with Quota exceeded (`quotaExceeded`; the connection of a 3.x client ends), or the connection ends (`disconnect`). Deliveries can only wait.',
        apply: 'live',
        choices: rateOutcomes,
        default: 'delay',
      }),
    },
  }),
});

export const banSettings = list({
  sentence: 'Who may not connect. More are added and lifted while the broker runs.',
  apply: 'live',
  default: [],
  item: group({
    sentence: 'One ban.',
    fields: {
      kind: choice({
        sentence:
          'What it is about: a client identifier, a user name, an IP address or network, or a regular expression for the whole of an identifier or name.',
        apply: 'live',
        choices: banKinds,
      }),
      value: text({
        sentence: 'Whom it concerns.',
        apply: 'live',
        allowed: 'text of 1 to 1024 bytes',
        check: (value) => value !== '' && bytesOf(value) <= 1024 && printable(value),
      }),
      reason: text({
        sentence: 'Why, for the log.',
        apply: 'live',
        allowed: 'text of at most 256 bytes',
        check: (value) => bytesOf(value) <= 256 && printable(value),
        optional: true,
      }),
    },
  }),
});

export const protectionSettings = group({
  sentence: 'Against clients that do too much of something.',
  fields: {
    connectionsPerUserMax: count('Connections of one user at a time; 0 is no limit.', 0),
    connectionsPerAddressMax: count('Connections from one IP address at a time; 0 is no limit.', 0),
    connectionsPerSecondMax: count(
      'New connections in a second on all listeners together; those above it are closed at once; 0 is no limit.',
      0,
    ),
    connectionSecondsMax: seconds('How long a connection may last; 0 is no limit.', 0, 0),
    flapping: group({
      sentence: 'Clients that connect again and again.',
      fields: {
        connectsMax: count(
          'Connections of one client identifier within the window, above which it is banned; 0 is never.',
          0,
        ),
        windowSeconds: seconds('The window.', 60),
        banSeconds: seconds('How long such a client is banned.', 300),
      },
    }),
    logins: group({
      sentence: 'Failed logins.',
      fields: {
        failuresMax: count(
          'Failed logins from one address, or for one user, within the window that are answered at once; each further answer waits twice as long as the one before; 0 delays none.',
          10,
        ),
        windowSeconds: seconds('The window.', 60),
        delaySecondsMax: seconds('How long such an answer waits at most.', 5),
      },
    }),
    slowConsumers: group({
      sentence: 'Clients that take less than they are sent.',
      fields: {
        seconds: seconds(
          'How long messages may wait for a connected client before it counts as slow; 0 is for ever.',
          30,
          0,
        ),
        outcome: choice({
          sentence:
            'What happens then: one line in the log and a counter (`log`), or the connection ends as well (`disconnect`).',
          apply: 'live',
          choices: ['log', 'disconnect'],
          default: 'log',
        }),
      },
    }),
    overload: group({
      sentence:
        'When the broker has more to do than it can, it refuses new clients and lets publishers wait until it is over.',
      fields: {
        eventLoopDelayMsMax: integer({
          sentence:
            'Delay of the event loop from which on, two seconds in a row, the broker is overloaded; 0 is never.',
          apply: 'live',
          minimum: 0,
          maximum: 60_000,
          default: 500,
          unit: 'milliseconds',
        }),
        memoryBytesMax: integer({
          sentence: 'Memory of the process from which on the broker is overloaded; 0 is never.',
          apply: 'live',
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
          default: 0,
          unit: 'bytes',
        }),
      },
    }),
  },
});
