/** A mapped mosquitto.conf as the text of a dunlin.yaml, with a comment where a setting means something else than the directive did. */
import { Document, isMap, isScalar, isSeq, type Node, type Pair, visit } from 'yaml';
import { escapeControls } from '../../base/index.js';
import { findDirective } from './directives.js';
import { stepsOf } from './draft.js';
import type { MappedMosquitto } from './map.js';

/** `file` is the name that the result gives its origin. */
export function convertMosquitto({ draft, warnings }: MappedMosquitto, file: string): string {
  const document = new Document(draft.root);
  for (const [path, sentences] of commentsOf(draft)) comment(document, path, sentences);
  document.commentBefore = headOf(file, warnings);
  quoteVersions(document);
  return document.toString({ lineWidth: 0 });
}

function headOf(file: string, warnings: MappedMosquitto['warnings']): string {
  const lines = [` Made by dunlin config convert from ${escapeControls(file)}.`];
  if (warnings.length > 0) lines.push(' What is not here, or not as it was:');
  for (const { file: of, position, key, sentence } of warnings)
    lines.push(
      ` - ${escapeControls([`${of}${position === undefined ? '' : `:${position.line}`}`, key, sentence].filter((part) => part !== '').join(': '))}`,
    );
  return lines.join('\n');
}

/** The differences of the directives that were given, and the notes of the mapping, by path. */
function commentsOf(draft: MappedMosquitto['draft']): Map<string, string[]> {
  const comments = new Map<string, string[]>();
  const add = (path: string, sentence: string): void => {
    const known = comments.get(path) ?? [];
    if (!known.includes(sentence)) known.push(sentence);
    comments.set(path, known);
  };
  const told = new Set<string>();
  for (const [path, line] of draft.origins) {
    const row = findDirective(line.name);
    if (row === undefined || row.fate !== 'differs' || row.note === '') continue;
    // What may be given many times is told at the first.
    const key = row.repeats ? row.name : `${line.file}:${line.line}`;
    if (told.has(key)) continue;
    told.add(key);
    add(path, `${row.name}: ${row.note}`);
  }
  for (const [path, sentences] of draft.notes) for (const sentence of sentences) add(path, sentence);
  return comments;
}

/** Above the key, or above the entry of a list. */
function comment(document: Document, path: string, sentences: readonly string[]): void {
  const steps = stepsOf(path);
  let at: unknown = document.contents;
  let holder: Pair | undefined;
  for (const step of steps) {
    if (isMap(at)) {
      holder = at.items.find(({ key }) => (isScalar(key) ? key.value : key) === step);
      at = holder?.value;
    } else if (isSeq(at)) {
      holder = undefined;
      at = at.items[step as number];
    } else return;
  }
  const node = (holder === undefined ? at : holder.key) as Node | undefined;
  if (node === undefined || node === null) return;
  const text = sentences.map((sentence) => ` ${escapeControls(sentence)}`).join('\n');
  node.commentBefore = node.commentBefore ? `${node.commentBefore}\n${text}` : text;
}

/** A reader takes 5.0 for a number; quotes keep it as it is written. */
function quoteVersions(document: Document): void {
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string' && /^\d+\.\d+$/.test(node.value)) node.type = 'QUOTE_DOUBLE';
    },
  });
}
