const SHOWN_MAX = 80;
const NAME_MAX = 256;

/** Line breaks and characters that steer a terminal or turn the direction of writing, as `\uXXXX`. */
export function escapeControls(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** A name from outside as a field of a log line: an attacker's own may be of 64 KB. */
export function shortName(name: string): string {
  return name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}…` : name;
}

/** Text from outside as logs, errors and reason strings show it: quoted, control characters escaped, cut when long. */
export function quoted(text: string): string {
  return escapeControls(JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text));
}
