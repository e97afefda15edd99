/** A failing world (disk, address, memory), as opposed to a broken peer or a bug. `code` is stable and may be matched on. */
export class Fault extends Error {
  override readonly name = 'Fault';

  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
