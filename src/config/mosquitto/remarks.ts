/** What is to be said of a mosquitto.conf: problems that stop the start, warnings that do not, each with its file and line. */
import type { Problem } from '../problem.js';

/** One line of a file that says something. */
export interface Line {
  readonly name: string;
  /** What stands behind the name, without blanks around it. */
  readonly value: string;
  readonly file: string;
  readonly line: number;
}

export class Remarks {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  private readonly said = new Set<string>();

  /** Said once, however often the line is looked at. */
  problem(at: Line, sentence: string): void {
    const said = `${at.file}:${at.line} ${sentence}`;
    if (this.said.has(said)) return;
    this.said.add(said);
    this.problems.push(problemAt(at, sentence));
  }

  warn(at: Line, sentence: string): void {
    this.warnings.push(problemAt(at, sentence));
  }

  /** A file as a whole. */
  problemOf(file: string, sentence: string): void {
    this.problems.push({ file, position: undefined, key: '', sentence });
  }

  /** Of no line: what the files together leave open. */
  warnOf(file: string, sentence: string): void {
    this.warnings.push({ file, position: undefined, key: '', sentence });
  }
}

export function problemAt({ file, line, name }: Pick<Line, 'file' | 'line' | 'name'>, sentence: string): Problem {
  return { file, position: { line, column: 1 }, key: name, sentence };
}
