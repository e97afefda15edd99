/** Why the process does not run: said to people in a sentence, and to other programs by the exit code. */

/** Something a person has to mend before the broker can run. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message);
  }
}

/** Every failure of the world that the broker words for people carries a stable code in capitals. */
export function isFault(error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.name === 'Fault';
}
