// The process that aedes.ts starts: `node aedes-server.js PORT`.

import { createServer } from 'node:net';
import { Aedes } from 'aedes';

const port = Number(process.argv[2]);
const broker = await Aedes.createBroker();
const server = createServer({ noDelay: true }, broker.handle);
server.listen(port, '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
