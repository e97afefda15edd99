import { optionTable } from './option-table.js';
import type { ToolName } from './tool-options.js';

const heads: Record<ToolName, string> = {
  pub: `dunlin pub: publishes messages on a topic

Usage: dunlin pub {-t TOPIC | -L URL} {-m TEXT | -f FILE | -l | -n | -s} [OPTIONS]
`,
  sub: `dunlin sub: subscribes to topics and prints the messages

Usage: dunlin sub {-t TOPIC | -L URL} [OPTIONS]
`,
  ctrl: `dunlin ctrl: administers a broker over MQTT

Usage: dunlin ctrl [OPTIONS | -o FILE] dynsec COMMAND [ARGUMENTS]
       dunlin ctrl dynsec help

-o FILE reads options from this file, in the place of the usual one.
`,
  rr: `dunlin rr: publishes a request and prints the response

Usage: dunlin rr {-t TOPIC | -L URL} -e TOPIC {-m TEXT | -f FILE | -n | -s} [OPTIONS]
`,
};

const formats = `
Formats of -F: %t topic, %p payload, %x %X payload in hexadecimal, %l its length, %q QoS, %r retain flag, %m packet
identifier, %j JSON with the payload as text, %J JSON with the payload as JSON, %I ISO 8601 time, %U seconds of the Unix
epoch, %% a percent sign; of 5.0: %A topic alias, %C content type, %D correlation data, %E message expiry interval,
%F payload format indicator, %P user properties, %R response topic, %S subscription identifier. Between % and the letter:
- aligns left, 0 pads with zeros, then a width and .maximum. @X is %X of strftime(3), @N nanoseconds, @@ an at sign.
\\\\ \\0 \\a \\e \\n \\r \\t \\v are the usual characters.
`;

const tail = `
Options are also read from $XDG_CONFIG_HOME/mosquitto_TOOL or ~/.config/mosquitto_TOOL, one option and its value a line.
`;

export function helpText(tool: ToolName): string {
  const lines = optionTable
    .filter(({ tools }) => tools.includes(tool))
    .map(({ names, value, help }) => [`${names.join(', ')}${value === undefined ? '' : ` ${value}`}`, help] as const);
  lines.push([
    '-D, --property COMMAND NAME VALUE...',
    'property of a packet, selects MQTT 5.0; user-property takes a name and a value',
  ]);
  lines.push(['--help, --version', 'this text, or the version']);
  const options = lines.map(([left, help]) => `  ${left.padEnd(38)} ${help}\n`).join('');
  return `${heads[tool]}\n${options}${tool === 'pub' || tool === 'ctrl' ? '' : formats}${tail.replaceAll('TOOL', tool)}`;
}
