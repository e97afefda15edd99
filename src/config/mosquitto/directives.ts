/** All directives: look-up by name, and the table for docs/mosquitto.md. */
import { nearest } from '../nearest.js';
import { bridgeDirectives } from './bridge-directives.js';
import { type DirectiveRow, type Fate, type Section, sections } from './directive.js';
import { generalDirectives } from './general-directives.js';
import { alsoForPsk, listenerDirectives } from './listener-directives.js';

export const directives: readonly DirectiveRow[] = [...generalDirectives, ...listenerDirectives, ...bridgeDirectives];

const byName = new Map(directives.map((row) => [row.name, row]));
const prefixes = directives.filter(({ name }) => name.endsWith('*'));

export function findDirective(name: string): DirectiveRow | undefined {
  return (
    byName.get(name) ?? prefixes.find((row) => name.startsWith(row.name.slice(0, -1)) && name.length >= row.name.length)
  );
}

/** What an unknown name may have been meant to be. */
export function nearestDirective(name: string): string | undefined {
  return nearest(
    name,
    directives.filter((row) => !row.name.endsWith('*')).map((row) => row.name),
  );
}

const fates: Readonly<Record<Fate, string>> = {
  honoured: 'honoured',
  differs: 'honoured, with a difference',
  unneeded: 'without effect',
  refused: 'refused',
};

/** The tables of docs/mosquitto.md, as Markdown. */
export function formatDirectives(): string {
  return (Object.keys(sections) as Section[])
    .map((section) => `### ${sections[section]}\n\n${table(section)}`)
    .join('\n');
}

function table(section: Section): string {
  const rows = directives.filter((row) => row.section === section).map((row) => rowText(row, row.becomes));
  const again =
    section !== 'psk' ? [] : Object.entries(alsoForPsk).map(([name, becomes]) => rowText(byName.get(name)!, becomes));
  return `${['| Directive | Here | Becomes | Difference or reason |', '|---|---|---|---|', ...again, ...rows].join('\n')}\n`;
}

function rowText({ name, fate, note }: DirectiveRow, becomes: string): string {
  return `| \`${name.replace('*', '\\*')}\` | ${fates[fate]} | ${becomes} | ${note.replaceAll('|', '\\|')} |`
    .replace('`plugin_opt_\\*`', '`plugin_opt_*`')
    .replace('`auth_opt_\\*`', '`auth_opt_*`');
}
