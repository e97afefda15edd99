/** The end of connections to servers, some of which have gone silent and take no leave. */

const GOODBYE_MS = 1000;

/** Resolves when `ending` has ended, well or not, or after a second. */
export async function goodbye(ending: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, GOODBYE_MS);
  });
  try {
    await Promise.race([ending.catch(() => {}), silence]);
  } finally {
    clearTimeout(timer);
  }
}
