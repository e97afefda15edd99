import { Fault } from '../base/index.js';

/** One clear line for a listener that cannot be bound. */
export function listenFault(name: string, where: string, error: NodeJS.ErrnoException): Fault {
  const subject = `listener ${name}: cannot listen on ${where}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new Fault('LISTEN_ADDRESS_IN_USE', `${subject}: the address is in use by another program`, {
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
      return new Fault('LISTEN_PERMISSION', `${subject}: permission denied`, { cause: error });
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Fault('LISTEN_ADDRESS_UNKNOWN', `${subject}: this machine has no such address`, { cause: error });
    default:
      return new Fault('LISTEN_FAILED', `${subject}: ${error.message}`, { cause: error });
  }
}
