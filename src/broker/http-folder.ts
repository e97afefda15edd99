/**
 * Files of a folder, as a WebSocket listener serves them over HTTP beside MQTT.
 *
 * Refuses  what lies outside of the folder, also behind links; hidden files; anything but files.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { extname, join, sep } from 'node:path';
import type { HttpDocument } from '../transport/index.js';

/** Larger files are not served: each is read into memory. */
const FILE_BYTES_MAX = 32 * 1024 * 1024;

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.webp': 'image/webp',
  '.ico': 'image/vnd.microsoft.icon',
  '.woff2': 'font/woff2',
  '.wasm': 'application/wasm',
  '.xml': 'application/xml',
};

/** The file at a URL path; `/` and folders are their `index.html`. */
export function fileAt(folder: string, urlPath: string): HttpDocument | undefined {
  let path: string;
  try {
    path = decodeURIComponent(urlPath);
  } catch {
    return undefined;
  }
  if (path.includes('\0') || path.split(/[/\\]/).some((part) => part.startsWith('.'))) return undefined;
  try {
    const root = realpathSync(folder);
    let file = realpathSync(join(root, path));
    if (statSync(file).isDirectory()) file = realpathSync(join(file, 'index.html'));
    if (!file.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
    const { size } = statSync(file);
    if (!statSync(file).isFile() || size > FILE_BYTES_MAX) return undefined;
    return { type: types[extname(file).toLowerCase()] ?? 'application/octet-stream', body: readFileSync(file) };
  } catch {
    return undefined;
  }
}
