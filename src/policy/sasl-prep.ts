/**
 * SASLprep (RFC 4013): brings user names and passwords that look the same to the same bytes.
 *
 * Done     mapping, NFKC, every table of prohibited characters, the rule for right-to-left text.
 * Not done unassigned code points of Unicode 3.2 are let through, and text direction goes by script, since JavaScript
 *          knows neither; both only matter for text that no keyboard makes.
 */

const mappedToSpace = /[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/gu;
const mappedToNothing = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|[\u200b-\u200d]|\u2060|[\ufe00-\ufe0f]|\ufeff/gu;

const prohibited = new RegExp(
  [
    '[\\u0000-\\u001f\\u007f-\\u009f]',
    '[\\u06dd\\u070f\\u180e\\u2028\\u2029\\u2061-\\u2063\\u206a-\\u206f\\u{1d173}-\\u{1d17a}]',
    '[\\p{Co}\\p{Cs}\\p{Noncharacter_Code_Point}]',
    '[\\ufff9-\\ufffd\\u2ff0-\\u2ffb\\u0340\\u0341\\u200e\\u200f\\u202a-\\u202e]',
    '[\\u{e0001}\\u{e0020}-\\u{e007f}]',
  ].join('|'),
  'u',
);

const rightToLeft = '\\p{Script=Hebrew}\\p{Script=Arabic}\\p{Script=Syriac}\\p{Script=Thaana}';
const hasRightToLeft = new RegExp(`(?=[${rightToLeft}])\\p{L}`, 'u');
const hasLeftToRight = new RegExp(`(?![${rightToLeft}])\\p{L}`, 'u');
const startsAndEndsRightToLeft = new RegExp(`^[${rightToLeft}](.*[${rightToLeft}])?$`, 'su');

/** The prepared text, or undefined when it holds what SASLprep prohibits or nothing remains. */
export function saslPrep(text: string): string | undefined {
  if (/^[\x20-\x7e]+$/.test(text)) return text;
  const prepared = text.replace(mappedToSpace, ' ').replace(mappedToNothing, '').normalize('NFKC');
  if (prepared === '' || prohibited.test(prepared)) return undefined;
  if (hasRightToLeft.test(prepared) && (hasLeftToRight.test(prepared) || !startsAndEndsRightToLeft.test(prepared)))
    return undefined;
  return prepared;
}
