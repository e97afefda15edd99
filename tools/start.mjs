// `npm start`: installs, builds and runs the broker. Arguments after `--` go to the broker.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, root } from './build.mjs';

build();
await import(pathToFileURL(join(root, 'bin', 'dunlin.mjs')).href);
