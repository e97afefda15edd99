/** Distinguished names in the words of RFC 4514: `CN=device,OU=Sensors,O=Example,C=DE`, the most specific part first. */
import { children, type DerElement, DerTag, derValue, derWhole, objectIdentifier } from './der.js';

/** Short names of RFC 4514 §3, and those that certificates of devices use besides. */
const shortNames: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.42': 'GN',
  '2.5.4.97': 'organizationIdentifier',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
};
const COMMON_NAME = '2.5.4.3';

export interface DistinguishedName {
  readonly text: string;
  /** The most specific common name. */
  readonly commonName: string | undefined;
}

/** `name` is the Name element within `bytes`. */
export function readName(bytes: Buffer, name: DerElement): DistinguishedName {
  const parts: string[] = [];
  let commonName: string | undefined;
  for (const relative of children(bytes, name)) {
    const attributes: string[] = [];
    for (const attribute of children(bytes, relative)) {
      const [type, value] = [...children(bytes, attribute)];
      if (type === undefined || value === undefined) continue;
      const identifier = objectIdentifier(derValue(bytes, type));
      const text = textOf(bytes, value);
      if (identifier === COMMON_NAME && text !== undefined) commonName = text;
      attributes.push(
        text === undefined
          ? `${identifier}=#${derWhole(bytes, value).toString('hex')}`
          : `${shortNames[identifier] ?? identifier}=${escapeValue(text)}`,
      );
    }
    parts.push(attributes.join('+'));
  }
  return { text: parts.reverse().join(','), commonName };
}

function textOf(bytes: Buffer, element: DerElement): string | undefined {
  const value = derValue(bytes, element);
  switch (element.tag) {
    case DerTag.utf8String:
      return value.toString('utf8');
    case 0x12: // NumericString
    case 0x13: // PrintableString
    case 0x14: // TeletexString
    case 0x16: // IA5String
    case 0x1a: // VisibleString
      return value.toString('latin1');
    case 0x1e: // BMPString
      return value.length % 2 === 0 ? Buffer.from(value).swap16().toString('utf16le') : undefined;
    default:
      return undefined;
  }
}

/** RFC 4514 §2.4 */
function escapeValue(text: string): string {
  return text
    .replace(/["+,;<>\\]|^[ #]| $/g, '\\$&')
    .replace(/[\u0000-\u001f\u007f]/g, (control) => `\\${Buffer.from(control).toString('hex')}`);
}
