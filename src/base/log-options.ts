/** Where and how a log can be written: the words that the configuration takes. */
export const logFormats = ['auto', 'pretty', 'json', 'mosquitto'] as const;
export type LogFormat = (typeof logFormats)[number];

export const logDestinations = ['stdout', 'stderr', 'syslog', 'topic'] as const;
export type LogDestination = (typeof logDestinations)[number];

export const syslogFacilities = [
  'daemon',
  'user',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const;
export type SyslogFacility = (typeof syslogFacilities)[number];
