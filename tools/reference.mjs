// `npm run reference`: writes docs/configuration.md from the schema of settings.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, root } from './build.mjs';

build();
const { formatReference } = await import(pathToFileURL(join(root, 'dist', 'src', 'config', 'index.js')).href);
mkdirSync(join(root, 'docs'), { recursive: true });
writeFileSync(join(root, 'docs', 'configuration.md'), formatReference());
console.log('docs/configuration.md written');
