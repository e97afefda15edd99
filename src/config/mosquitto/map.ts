/**
 * From a mosquitto.conf to settings of this broker: `input` is what a YAML file or a program would give.
 *
 * Returns  problems and warnings with file and line; a problem means that `input` is not to be used.
 */
import type { Problem } from '../problem.js';
import type { ConfigInput } from '../schema.js';
import { Draft } from './draft.js';
import { mapAccess } from './map-access.js';
import { mapBridges } from './map-bridges.js';
import { mapGlobal, mapLog, mapStorage } from './map-limits.js';
import { mapListeners } from './map-listeners.js';
import { mapTls } from './map-tls.js';
import { type Part, readMosquittoFiles, readMosquittoText } from './read-lines.js';
import { Remarks } from './remarks.js';
import { sortLines } from './sections.js';

export interface MappedMosquitto {
  readonly input: ConfigInput;
  readonly draft: Draft;
  /** The file opens no listener, so there is one on the loopback address. */
  readonly localOnly: boolean;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export function mapMosquittoFile(file: string): MappedMosquitto {
  const remarks = new Remarks();
  return mapParts(readMosquittoFiles(file, remarks), file, remarks);
}

/** Text instead of a file; `file` is what messages name. */
export function mapMosquittoText(text: string, file: string): MappedMosquitto {
  const remarks = new Remarks();
  return mapParts(readMosquittoText(text, remarks, file), file, remarks);
}

function mapParts(parts: readonly Part[], file: string, remarks: Remarks): MappedMosquitto {
  const draft = new Draft();
  const sections = sortLines(parts, remarks);
  const { global, bridges } = sections;
  mapGlobal(global, draft, remarks);
  mapStorage(global, draft, remarks);
  mapLog(global, draft, remarks);
  const listeners = mapListeners(sections, draft, remarks);
  for (const listener of listeners) mapTls(listener, draft, remarks);
  mapAccess(sections, listeners, file, draft, remarks);
  mapBridges(bridges, global, draft, remarks);
  return {
    input: draft.root as ConfigInput,
    draft,
    localOnly: listeners.some((listener) => listener.localOnly),
    problems: inOrder(remarks.problems, parts),
    warnings: inOrder(remarks.warnings, parts),
  };
}

/** In the order of the files, and of the lines in them; what concerns no line comes first. */
function inOrder(problems: readonly Problem[], parts: readonly Part[]): Problem[] {
  const files = [...new Set(parts.flatMap(({ lines }) => lines.map(({ file }) => file)))];
  const place = ({ file, position }: Problem) =>
    position === undefined ? -1 : files.indexOf(file ?? '') * 10_000_000 + position.line;
  return [...problems].sort((a, b) => place(a) - place(b));
}
