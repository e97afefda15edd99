// `npm run bench`: installs, builds and compares brokers. Arguments after `--` go to bench/main.ts; `--help` lists them.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, root } from './build.mjs';

build();
const { main } = await import(pathToFileURL(join(root, 'dist', 'bench', 'main.js')).href);
process.exitCode = await main(process.argv.slice(2), root);
