/**
 * Calls a function of the embedding program. What it throws ends here, and so does what the promise of an asynchronous one is rejected with: nobody
 * else looks at it, and Node would end the process.
 */
export function callSafely(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = call();
    if (result instanceof Promise) result.catch(failed);
  } catch (error) {
    failed(error);
  }
}
