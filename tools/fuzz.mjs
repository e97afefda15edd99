// `npm run fuzz -- --count 5000000 --version all --seed 1`: builds, then feeds damaged packets to the codec and to a broker
// in memory, one version after the other. Each version runs in a process of its own, which is ended when it hangs.
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build, root } from './build.mjs';

const versions = { 3.1: 3, '3.1.1': 4, '5.0': 5 };
const SILENCE_MS_MAX = 120_000;
const mebibytes = (bytes) => (bytes / 1_048_576).toFixed(1);

/** In the child: the fuzzer itself. */
async function run([version, count, seed]) {
  const file = join(root, 'dist', 'src', 'connection', 'inbound.fuzz.js');
  const { fuzzPackets } = await import(pathToFileURL(file).href);
  const options = { version: versions[version], count: Number(count), seed: Number(seed) };
  const result = await fuzzPackets({ ...options, onProgress: (now) => process.send({ packets: now.packets }) });
  process.send({ result });
}

/** Runs one version; returns whether it held. */
function fuzz(version, count, seed) {
  const startedAt = performance.now();
  const rate = (packets) => Math.round((packets / (performance.now() - startedAt)) * 1000);
  const child = fork(fileURLToPath(import.meta.url), ['--run', version, String(count), String(seed)], {
    execArgv: ['--expose-gc', '--enable-source-maps'],
  });
  let packets = 0;
  let held = false;
  const onSilence = () => {
    console.error(`\n${version}: no progress after packet ${packets} in ${SILENCE_MS_MAX / 1000} s, seed ${seed}`);
    child.kill('SIGKILL');
  };
  let watchdog = setTimeout(onSilence, SILENCE_MS_MAX);
  return new Promise((resolve) => {
    child.on('message', (message) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(onSilence, SILENCE_MS_MAX);
      if (message.result === undefined) {
        packets = message.packets;
        const line = `${version.padEnd(5)} ${packets} of ${count}, ${rate(packets)} packets/s`;
        if (process.stderr.isTTY) process.stderr.write(`\r${line} `);
        else if (packets % 1_000_000 === 0) console.error(line);
        return;
      }
      held = true;
      const { result } = message;
      if (process.stderr.isTTY) process.stderr.write('\n');
      console.log(
        `${version.padEnd(5)} ${result.packets} packets: ${result.decoded} decoded, ${result.refused} refused, over ` +
          `${result.connections} connections, ${rate(result.packets)} packets/s, slowest thousand ` +
          `${Math.round(result.slowestRoundMs)} ms, heap ${mebibytes(result.heapBefore)} -> ${mebibytes(result.heapAfter)} MiB`,
      );
    });
    child.on('exit', (code) => {
      clearTimeout(watchdog);
      resolve(held && code === 0);
    });
  });
}

if (process.argv[2] === '--run') {
  await run(process.argv.slice(3));
  process.disconnect();
} else {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '5000000' },
      version: { type: 'string', default: 'all' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
    },
  });
  const count = Number(values.count);
  const seed = Number(values.seed);
  const known = Object.keys(versions);
  const fault =
    values.version !== 'all' && !known.includes(values.version)
      ? `--version is ${values.version}; allowed are all, ${known.join(', ')}`
      : !Number.isSafeInteger(count) || count < 1
        ? `--count is ${values.count}; allowed is a whole number from 1 on`
        : !Number.isSafeInteger(seed) || seed < 0
          ? `--seed is ${values.seed}; allowed is a whole number from 0 on`
          : undefined;
  if (values.help || fault !== undefined) {
    if (fault !== undefined) console.error(fault);
    console.log(`npm run fuzz -- [--count PACKETS] [--version all|${known.join('|')}] [--seed NUMBER]`);
    process.exit(fault === undefined ? 0 : 2);
  }
  build();
  console.log(`seed ${seed}`);
  let held = true;
  for (const version of values.version === 'all' ? known : [values.version])
    held = (await fuzz(version, count, seed)) && held;
  process.exitCode = held ? 0 : 1;
}
