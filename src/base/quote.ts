const SHOWN_MAX = 80;

/** Text from a peer as logs and reason strings show it: quoted, control characters escaped, cut when long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}
