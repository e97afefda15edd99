/**
 * Reads mosquitto.conf and what it includes into lines.
 *
 *   <name> <value>      the value is the rest of the line; blanks around it do not count
 *   # comment           also behind blanks
 *   include_dir <dir>   the files *.conf of a folder, in this place, each beginning with the default listener again
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileFailure, quoted } from '../../base/index.js';
import type { Line, Remarks } from './remarks.js';

const FILE_BYTES_MAX = 64 * 1024 * 1024;

/** Lines of one file that follow each other. `context` is the same for all parts of a file: its listener goes on behind an include. */
export interface Part {
  readonly context: number;
  readonly lines: readonly Line[];
}

export function readMosquittoFiles(file: string, remarks: Remarks): Part[] {
  const text = readText(file, remarks);
  return text === undefined ? [] : splitAtIncludes(parseLines(text, file, remarks), remarks);
}

/** Text instead of a file: folders that it includes are read all the same. */
export function readMosquittoText(text: string, remarks: Remarks, file: string): Part[] {
  return splitAtIncludes(parseLines(text, file, remarks), remarks);
}

function splitAtIncludes(lines: readonly Line[], remarks: Remarks): Part[] {
  const parts: Part[] = [];
  let own: Line[] = [];
  let context = 0;
  for (const line of lines) {
    if (line.name !== 'include_dir') {
      own.push(line);
      continue;
    }
    if (line.value === '') {
      remarks.problem(line, 'needs a folder');
      continue;
    }
    parts.push({ context: 0, lines: own });
    own = [];
    for (const file of confFilesOf(line, remarks)) {
      const text = readText(file, remarks);
      if (text === undefined) continue;
      const inner = parseLines(text, file, remarks);
      for (const nested of inner)
        if (nested.name === 'include_dir') remarks.warn(nested, 'counts in the main file only, and has no effect here');
      context++;
      parts.push({ context, lines: inner.filter(({ name }) => name !== 'include_dir') });
    }
  }
  parts.push({ context: 0, lines: own });
  return parts;
}

function confFilesOf(line: Line, remarks: Remarks): string[] {
  try {
    return readdirSync(line.value)
      .filter((name) => name.endsWith('.conf') && name.length > 5)
      .sort(inOrderOfMosquitto)
      .map((name) => join(line.value, name));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' || code === 'ENOTDIR' ? 'there is no such folder' : fileFailure(error);
    remarks.problem(line, `${line.value} cannot be read: ${reason}`);
    return [];
  }
}

/** By letter, and the upper case of a letter before the lower case of the same. */
export function inOrderOfMosquitto(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const [x, y] = [a[at]!, b[at]!];
    const [upperX, upperY] = [x.toUpperCase(), y.toUpperCase()];
    if (upperX !== upperY) return upperX < upperY ? -1 : 1;
    if (x !== y) return x < y ? -1 : 1;
  }
  return a.length - b.length;
}

function parseLines(text: string, file: string, remarks: Remarks): Line[] {
  const lines: Line[] = [];
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    const content = raw.trim();
    if (content === '' || content.startsWith('#')) continue;
    const [, name = '', value = ''] = /^(\S+)\s*(.*)$/s.exec(content)!;
    const line = { name, value, file, line: index + 1 };
    if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(content))
      remarks.problem({ ...line, name: quoted(name) }, 'holds control characters');
    else lines.push(line);
  }
  return lines;
}

function readText(file: string, remarks: Remarks): string | undefined {
  try {
    const bytes = readFileSync(file);
    if (bytes.length > FILE_BYTES_MAX) {
      remarks.problemOf(file, `has ${bytes.length} bytes; at most ${FILE_BYTES_MAX} are allowed`);
      return undefined;
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const notText = code === 'ERR_ENCODING_INVALID_ENCODED_DATA';
    remarks.problemOf(file, notText ? 'is not UTF-8 text' : `cannot be read: ${fileFailure(error)}`);
    return undefined;
  }
}
