/** Writes the reference of all settings, as Markdown, from the schema. `npm run reference` puts it in docs/configuration.md. */
import { schema } from './schema.js';
import { describeAllowed, type GroupFields, type GroupSetting, type Setting, type VariantSetting } from './setting.js';

const introduction = `# Configuration

This page is generated from the schema by \`npm run reference\`. Do not edit it.

\`dunlin -c FILE\` reads a YAML file; without \`-c\` it reads \`dunlin.yaml\` in the current folder if there is one, and otherwise
uses the defaults below. \`dunlin config check FILE\` checks a file and names every problem with its line. A setting that is left
out has its default. An example:

\`\`\`yaml
listeners:
  - { name: default, protocol: mqtt, host: 127.0.0.1, port: 1883, allowAnonymous: true }
  - { name: web, protocol: ws, host: 127.0.0.1, port: 8083, path: /mqtt }
storage: { mode: memory, path: ./data }
limits: { packetBytesMax: 1048576, queueMessagesMax: 1000, queueBytesMax: 16777216, queueOverflow: dropOldest }
log: { level: information, format: auto }
\`\`\`

A listener that other machines can reach needs \`users\`, or says \`allowAnonymous: true\`.

The last column tells what a change needs: \`live\` settings change when the process gets SIGHUP, \`reconnect\` settings for
connections made after that, \`restart\` settings when the broker is started again.
`;

export function formatReference(): string {
  const sections = Object.entries(schema.fields as GroupFields).map(([name, setting]) => section(name, setting));
  return [introduction, ...sections].join('\n');
}

function section(name: string, setting: Setting): string {
  const lines = [`## ${name}`, '', setting.sentence, ''];
  if (setting.kind === 'list') {
    lines[2] = `A list. ${setting.sentence} Default: ${setting.defaultText ?? 'empty'}.`;
    if (setting.item.kind === 'group') lines.push(table(setting.item));
  } else if (setting.kind === 'group') lines.push(table(setting));
  for (const { path, setting: inner } of variantsOf(name, setting))
    for (const [type, variant] of Object.entries(inner.variants))
      lines.push(`### ${path}, type \`${type}\``, '', variant.sentence, '', table(variant));
  return `${lines.join('\n')}`;
}

/** Lists whose entries differ by type: each type has a table of its own. */
function variantsOf(path: string, setting: Setting): { path: string; setting: VariantSetting }[] {
  if (setting.kind === 'list' && setting.item.kind === 'variant') return [{ path, setting: setting.item }];
  if (setting.kind !== 'group') return [];
  return Object.entries(setting.fields).flatMap(([name, field]) => variantsOf(`${path}.${name}`, field));
}

function table(setting: GroupSetting<GroupFields>): string {
  const rows = Object.entries(setting.fields).flatMap(([name, field]) => rowsOf(name, field));
  return `${['| Setting | What it is | Allowed | Default | Change |', '|---|---|---|---|---|', ...rows].join('\n')}\n`;
}

/** Settings inside others get their whole path; `[]` stands for the entries of a list. */
function rowsOf(name: string, setting: Setting): string[] {
  const inside = (group: GroupSetting<GroupFields>, path: string) =>
    Object.entries(group.fields).flatMap(([field, inner]) => rowsOf(`${path}.${field}`, inner));
  if (setting.kind === 'group') return inside(setting, name);
  if (setting.kind === 'list' && setting.item.kind === 'group')
    return [row(name, setting), ...inside(setting.item, `${name}[]`)];
  return [row(name, setting)];
}

function row(name: string, setting: Exclude<Setting, { kind: 'group' }>): string {
  const unit = setting.kind === 'integer' && setting.unit !== undefined ? `, ${setting.unit}` : '';
  const cells = [
    `\`${name}\``,
    setting.sentence,
    describeAllowed(setting) + unit,
    formatDefault(setting),
    setting.apply,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function formatDefault(setting: Exclude<Setting, { kind: 'group' }>): string {
  if (setting.kind === 'map') return 'empty';
  if (setting.kind === 'variant') return 'must be given';
  if (setting.defaultText !== undefined) return setting.defaultText;
  if (setting.kind === 'list')
    return setting.default.length === 0 ? 'empty' : setting.default.map((entry) => `\`${entry}\``).join(', ');
  if (setting.default === undefined) return setting.optional ? 'none' : 'must be given';
  return setting.default === '' ? 'empty' : `\`${setting.default}\``;
}
