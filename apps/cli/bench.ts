// `dunlin bench`: load for users, on any broker. The work is done in load/.

import { type BenchRequest, benchHelp, parseBenchArguments, UsageError } from './bench-options.js';
import { describePlan, formatReport, ProgressLine } from './bench-report.js';
import { LoadError, type LoadOptions, runLoad, runOffline, runRetained, type Stage } from './load/index.js';

/** Returns the exit code: 0 done, 1 the broker failed, 2 a mistake in the command, 130 stopped by a signal. */
export async function runBench(args: string[]): Promise<number> {
  let request: BenchRequest | undefined;
  try {
    request = parseBenchArguments(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`dunlin bench: ${error.message}\n(dunlin bench --help lists kinds and options)\n`);
    return 2;
  }
  if (request === undefined) {
    process.stdout.write(`${benchHelp()}\n`);
    return 0;
  }
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const progress = new ProgressLine(process.stderr);
  try {
    if (!request.json) process.stdout.write(`dunlin bench ${request.kind}: ${describePlan(request.plan)}\n`);
    const stages = await runStages(request, { signal: stop.signal, onProgress: (now) => progress.show(now) });
    progress.clear();
    process.stdout.write(request.json ? `${JSON.stringify(asJson(request, stages))}\n` : asText(stages));
    if (stop.signal.aborted) return 130;
    return stages.some(({ report }) => report.closed > (report.publishers + report.subscribers) / 2) ? 1 : 0;
  } catch (error) {
    progress.clear();
    if (stop.signal.aborted) return 130;
    if (!(error instanceof LoadError)) throw error;
    process.stderr.write(`dunlin bench: ${error.message}\n`);
    return 1;
  } finally {
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onSignal);
  }
}

async function runStages({ kind, plan }: BenchRequest, options: LoadOptions): Promise<Stage[]> {
  if (kind === 'retained') return runRetained(plan, options);
  if (kind === 'offline') return runOffline(plan, options);
  return [{ name: kind, report: await runLoad(plan, options) }];
}

function asText(stages: Stage[]): string {
  const blocks = stages.map(
    ({ name, report }) => `${stages.length > 1 ? `\n${name}\n` : '\n'}${formatReport(report)}\n`,
  );
  return blocks.join('');
}

function asJson({ kind }: BenchRequest, stages: Stage[]): object {
  return { kind, stages: stages.map(({ name, report }) => ({ name, ...report })) };
}
