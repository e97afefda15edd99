/**
 * How a directory writes the name of a user: it takes ADA for ada and blanks as they come, while rules, limits and bans compare names to the letter.
 * So one user has one name here, whichever way a client types it.
 */

/** Compared with the user name as a whole, in `(uid=${username})`. */
const COMPARED = /\(([A-Za-z][\w-]*)=\$\{username\}\)/g;
/** The same in `uid=${username},ou=people`. */
const NAMING = /^\s*(?:[^,]*\+\s*)?([A-Za-z][\w-]*)=\$\{username\}\s*(?:[,+]|$)/;

/** The attributes that a search filter compares the user name with. */
export function comparedAttributes(searchFilter: string): string[] {
  return [...searchFilter.matchAll(COMPARED)].map(([, attribute]) => attribute!);
}

/** The attribute that the user name stands in, where it names the entry of the user. */
export function namingAttribute(userDn: string): string[] {
  const attribute = NAMING.exec(userDn)?.[1];
  return attribute === undefined ? [] : [attribute];
}

/** The values of these attributes, whose names directories write as they like. */
export function valuesOf(entry: Readonly<Record<string, unknown>>, attributes: readonly string[]): string[] {
  const wanted = attributes.map((attribute) => attribute.toLowerCase());
  return Object.entries(entry)
    .filter(([attribute]) => wanted.includes(attribute.toLowerCase()))
    .flatMap(([, value]) => [value].flat().map(String));
}

/**
 * The one name of the user that logged in as `typed`; undefined where there is no telling. `written` is what the entry has, empty where it could not be
 * read: then only a name is taken that cannot be written otherwise but with capitals or blanks, which would be refused.
 */
export function oneName(typed: string, written: readonly string[]): string | undefined {
  if (written.length === 0) return /^[!-@[-~]+( [!-@[-~]+)*$/.test(typed) ? typed : undefined;
  if (written.includes(typed)) return typed;
  const found = written.filter((one) => alike(one) === alike(typed));
  const [only, ...others] = found.length > 0 ? found : written;
  return others.length > 0 ? undefined : only;
}

const alike = (name: string) => name.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase();
