/** Secrets that a person types: a line that the terminal does not show, or one of standard input where that is no terminal. */
import { createInterface } from 'node:readline';

/** Control-C. */
export class Interrupted extends Error {}

/** Reads a line from the terminal without showing it. Errors: Interrupted. */
export function readHiddenLine(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true);
  stdin.resume();
  return new Promise((resolve, reject) => {
    let text = '';
    const end = (outcome: () => void): void => {
      stdin.setRawMode(false);
      stdin.pause();
      stdin.off('data', take);
      stderr.write('\n');
      outcome();
    };
    const take = (chunk: Buffer): void => {
      for (const character of chunk.toString('utf8')) {
        if (character === '\r' || character === '\n' || character === '\u0004') return end(() => resolve(text));
        if (character === '\u0003') return end(() => reject(new Interrupted('interrupted')));
        text = character === '\u007f' || character === '\b' ? text.slice(0, -1) : text + character;
      }
    };
    stdin.on('data', take);
  });
}

/** Answers to several questions: each hidden on a terminal, else one line of standard input each. */
export class SecretInput {
  private lines: AsyncIterator<string> | undefined;
  private close = (): void => {};

  /** Undefined when standard input has ended. */
  async ask(prompt: string): Promise<string | undefined> {
    if (process.stdin.isTTY) return readHiddenLine(prompt);
    if (this.lines === undefined) {
      const input = createInterface({ input: process.stdin });
      this.lines = input[Symbol.asyncIterator]();
      this.close = () => input.close();
    }
    const next = await this.lines.next();
    return next.done === true ? undefined : next.value;
  }

  end(): void {
    this.close();
  }
}
