/**
 * The conversions of strftime(3) in the C locale and the local time zone, as `-F` needs them.
 */
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** The text for `%` and `conversion`; a conversion that does not exist stays as it is. */
export function strftime(date: Date, conversion: string): string {
  const convert = Object.hasOwn(conversions, conversion) ? conversions[conversion] : undefined;
  return convert === undefined ? `%${conversion}` : convert(date);
}

function several(date: Date, format: string): string {
  return format.replace(/%(.)/g, (_all, conversion: string) => strftime(date, conversion));
}

const zeros = (value: number, width = 2) => String(value).padStart(width, '0');
const blanks = (value: number) => String(value).padStart(2, ' ');
const hour12 = (date: Date) => date.getHours() % 12 || 12;

const conversions: Record<string, (date: Date) => string> = {
  a: (date) => days[date.getDay()]!.slice(0, 3),
  A: (date) => days[date.getDay()]!,
  b: (date) => months[date.getMonth()]!.slice(0, 3),
  B: (date) => months[date.getMonth()]!,
  c: (date) => several(date, '%a %b %e %H:%M:%S %Y'),
  C: (date) => zeros(Math.floor(date.getFullYear() / 100)),
  d: (date) => zeros(date.getDate()),
  D: (date) => several(date, '%m/%d/%y'),
  e: (date) => blanks(date.getDate()),
  F: (date) => several(date, '%Y-%m-%d'),
  g: (date) => zeros(isoWeek(date).year % 100),
  G: (date) => String(isoWeek(date).year),
  h: (date) => several(date, '%b'),
  H: (date) => zeros(date.getHours()),
  I: (date) => zeros(hour12(date)),
  j: (date) => zeros(dayOfYear(date) + 1, 3),
  k: (date) => blanks(date.getHours()),
  l: (date) => blanks(hour12(date)),
  m: (date) => zeros(date.getMonth() + 1),
  M: (date) => zeros(date.getMinutes()),
  n: () => '\n',
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  P: (date) => (date.getHours() < 12 ? 'am' : 'pm'),
  r: (date) => several(date, '%I:%M:%S %p'),
  R: (date) => several(date, '%H:%M'),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  S: (date) => zeros(date.getSeconds()),
  t: () => '\t',
  T: (date) => several(date, '%H:%M:%S'),
  u: (date) => String(date.getDay() || 7),
  U: (date) => zeros(Math.floor((dayOfYear(date) + 7 - date.getDay()) / 7)),
  V: (date) => zeros(isoWeek(date).week),
  w: (date) => String(date.getDay()),
  W: (date) => zeros(Math.floor((dayOfYear(date) + 7 - ((date.getDay() + 6) % 7)) / 7)),
  x: (date) => several(date, '%m/%d/%y'),
  X: (date) => several(date, '%H:%M:%S'),
  y: (date) => zeros(date.getFullYear() % 100),
  Y: (date) => String(date.getFullYear()),
  z: zoneOffset,
  Z: zoneName,
  '%': () => '%',
};

function dayOfYear(date: Date): number {
  const midnight = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.round((midnight - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000);
}

/** ISO 8601: a week belongs to the year of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 4 - (date.getDay() || 7));
  return { year: thursday.getFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 };
}

function zoneOffset(date: Date): string {
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${zeros(Math.floor(size / 60))}${zeros(size % 60)}`;
}

/** Which locale knows the abbreviation depends on the zone; a zone without one is named by its offset, as in glibc. */
function zoneName(date: Date): string {
  for (const locale of ['en-US', 'en-GB', 'en-AU']) {
    const parts = new Intl.DateTimeFormat(locale, { timeZoneName: 'short' }).formatToParts(date);
    const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
    if (/^[A-Z]+$/.test(name)) return name;
  }
  return zoneOffset(date).replace(/00$/, '');
}
