// `npm run reference`: writes docs/configuration.md from the schema of settings, and docs/mosquitto.md from the table of directives.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, root } from './build.mjs';

build();
const { formatMosquittoGuide, formatReference } = await import(
  pathToFileURL(join(root, 'dist', 'src', 'config', 'index.js')).href
);
mkdirSync(join(root, 'docs'), { recursive: true });
writeFileSync(join(root, 'docs', 'configuration.md'), formatReference());
writeFileSync(join(root, 'docs', 'mosquitto.md'), formatMosquittoGuide());
console.log('docs/configuration.md and docs/mosquitto.md written');
