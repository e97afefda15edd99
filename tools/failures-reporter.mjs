// A reporter of node:test that says only what failed, and counts: `npm test` prints it last, where the end of a long log
// is looked at first.
import { relative } from 'node:path';
import { inspect } from 'node:util';

const linesMax = 60;

/** Yields the failures with their errors, then a line `N passed, N failed`. */
export default async function* failures(source) {
  let passed = 0;
  let failed = 0;
  for await (const { type, data } of source) {
    if (type === 'test:pass' && data.details?.type !== 'suite' && !data.skip) passed += 1;
    if (type !== 'test:fail') continue;
    // A suite fails with the tests in it, which are told for themselves.
    const error = data.details?.error;
    if (error?.failureType === 'subtestsFailed') continue;
    failed += 1;
    const place = data.file ? ` (${relative(process.cwd(), data.file)}${data.line ? `:${data.line}` : ''})` : '';
    const text = inspect(error?.cause ?? error, { depth: 4 })
      .split('\n')
      .slice(0, linesMax);
    yield `failed: ${data.name}${place}\n${text.map((line) => `  ${line}`).join('\n')}\n`;
  }
  yield `${passed} passed, ${failed} failed\n`;
}
