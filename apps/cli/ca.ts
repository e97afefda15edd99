/**
 * `dunlin ca`: the built-in certificate authority. Finds the action, reads its arguments, opens the folder, prints.
 *
 * Exit codes: 0 done, 1 refused by the world or by what the folder holds, 2 the caller is wrong.
 */
import { Fault } from '../../src/base/index.js';
import { actions, type CaAction, type CaRequest } from './ca-actions.js';
import { type CaOutput, CaRefusal, type OptionKind, openSettings } from './ca-support.js';

const help = `dunlin ca: the built-in certificate authority

The authority
  dunlin ca init [--name NAME] [--days N] [--key-type T] [--server-name N]... [--replace]   makes one, with a server certificate
  dunlin ca import FILE [--key FILE] [--password-file FILE] [--replace]    takes over one; without its key nothing is issued
  dunlin ca export [--out FILE]           its certificate, without the private key
  dunlin ca show                          what there is, with thumbprints
  dunlin ca renew --authority [--days N]  a new certificate for the same key: what was issued stays valid

Certificates of clients
  dunlin ca issue NAME [--days N] [--key-type T] [--organization O] [--zip FILE | --out FOLDER] [--password-file FILE]
                                          makes key and certificate, and packs them with examples; NAME is the common name
  dunlin ca sign FILE [--common-name NAME] [--days N] [--out FILE]         signs a request (CSR) made elsewhere
  dunlin ca list [--authorized | --revoked] [--server]
  dunlin ca add FILE                      puts a certificate made elsewhere on the list, as authorized
  dunlin ca add --serial HEX --issuer DN  the same when only serial number and issuer are known
  dunlin ca revoke WHICH [--reason R] [--all]  from now on refused; comes onto the revocation list
  dunlin ca authorize WHICH [--force]     takes a revocation back
  dunlin ca remove WHICH                  takes it off the list; what was issued and revoked here stays revoked
  dunlin ca renew WHICH [--days N] [--new-key] [--revoke-old] [--zip FILE | --out PATH] [--password-file FILE]
  dunlin ca crl [--der] [--refresh] [--out FILE]                           the revocation list

WHICH is an id from the list, a serial number, a thumbprint, or a common name that only one certificate has
(revoke --all: all that have it).

The certificate of the server
  dunlin ca server show
  dunlin ca server create [--name N]... [--days N] [--key-type T]          without names: those of this machine
  dunlin ca server import FILE [--key FILE] [--password-file FILE]         must come with its private key
  dunlin ca server export [--out FILE]
  dunlin ca issue NAME --server --name N...   one for another machine; so does sign

  -c, --config-file FILE   settings and folder (certificateAuthority); without it ./dunlin.yaml when there is one
      --folder FOLDER      another folder than certificateAuthority.folder (./certificates)
      --key-type T         p256, p384, rsa2048, rsa3072, rsa4096, ed25519
      --password-file FILE issue, renew: adds a PKCS#12 file under the password in the first line of FILE
                           import: the password of the private key or keystore (PKCS#12, JKS)
      --host H, --port P   issue, renew: where the examples connect
      --reason R           unspecified, keyCompromise, caCompromise, affiliationChanged, superseded,
                           cessationOfOperation, certificateHold, privilegeWithdrawn
      --json               prints JSON
  -h, --help               this text

Files are never overwritten; private keys are written for their owner alone. A running broker sees changes by itself.

Examples
  dunlin ca issue boiler-7 --zip boiler-7.zip
  dunlin ca revoke boiler-7 --reason keyCompromise
`;

const common: Readonly<Record<string, OptionKind>> = {
  '--config-file': 'value',
  '--folder': 'value',
  '--json': 'flag',
};
const shortNames: Readonly<Record<string, string>> = { '-c': '--config-file', '-o': '--out' };
const callerErrors = new Set(['CA_INPUT', 'CA_UNKNOWN', 'TLS_MATERIAL_INVALID']);

export async function runCa(args: readonly string[], { stdout, stderr }: CaOutput = process): Promise<number> {
  if (args[0] === 'help' || args.includes('-h') || args.includes('--help')) {
    stdout.write(help);
    return 0;
  }
  try {
    const [name, action, rest] = findAction(args);
    const parsed = parse(name, action, rest);
    const { settings, folder } = openSettings(parsed.options['--config-file']?.[0], parsed.options['--folder']?.[0]);
    const request: CaRequest = {
      ...parsed,
      settings,
      folder,
      print: (plain, json) =>
        stdout.write(
          '--json' in parsed.options ? `${JSON.stringify(json)}\n` : plain.endsWith('\n') ? plain : `${plain}\n`,
        ),
      printBytes: (bytes) => stdout.write(bytes),
      warn: (sentence) => stderr.write(`dunlin ca: ${sentence}\n`),
    };
    await action.run(request);
    return 0;
  } catch (error) {
    if (error instanceof CaRefusal) {
      stderr.write(`dunlin ca: ${error.message}\n`);
      return error.exitCode;
    }
    // A failing world carries a code; anything else is a bug and shown whole.
    if ((error as { code?: unknown }).code === undefined) throw error;
    stderr.write(`dunlin ca: ${(error as Error).message}\n`);
    return error instanceof Fault && callerErrors.has(error.code) ? 2 : 1;
  }
}

/** `server create` is one name in two words. */
function findAction(args: readonly string[]): [string, CaAction, readonly string[]] {
  const [first = '', second = ''] = args;
  const both = `${first} ${second}`;
  if (Object.hasOwn(actions, both)) return [both, actions[both]!, args.slice(2)];
  if (Object.hasOwn(actions, first)) return [first, actions[first]!, args.slice(1)];
  const within = Object.keys(actions).filter((name) => name.startsWith(`${first} `));
  const names = within.length > 0 ? within : Object.keys(actions);
  const wanted = within.length > 0 ? second : first;
  const found =
    wanted === '' || wanted.startsWith('-') ? 'a command is missing' : `unknown command ${JSON.stringify(wanted)}`;
  throw new CaRefusal(`${found}; there are ${names.join(', ')}; see dunlin ca --help`, 2);
}

function parse(name: string, action: CaAction, args: readonly string[]): Pick<CaRequest, 'operands' | 'options'> {
  const wrong = (sentence: string) => new CaRefusal(`${name}: ${sentence}; see dunlin ca --help`, 2);
  const kinds = { ...common, ...action.options };
  const options: Record<string, string[]> = {};
  const operands: string[] = [];
  let onlyOperands = false;
  for (let i = 0; i < args.length; i++) {
    const argument = args[i]!;
    if (onlyOperands || !argument.startsWith('-') || argument === '-') operands.push(argument);
    else if (argument === '--') onlyOperands = true;
    else {
      const equals = argument.startsWith('--') ? argument.indexOf('=') : -1;
      const written = equals < 0 ? argument : argument.slice(0, equals);
      const option = shortNames[written] ?? written;
      const kind = Object.hasOwn(kinds, option) ? kinds[option] : undefined;
      if (kind === undefined) throw wrong(`unknown argument ${JSON.stringify(written)}`);
      if (kind !== 'list' && option in options) throw wrong(`${written} is given twice`);
      if (kind === 'flag') {
        if (equals >= 0) throw wrong(`${written} takes no value`);
        options[option] = [];
      } else {
        const value = equals < 0 ? args[++i] : argument.slice(equals + 1);
        if (value === undefined || value === '') throw wrong(`${written} needs a value`);
        options[option] = [...(options[option] ?? []), value];
      }
    }
  }
  const { operand, operandOptional = false } = action;
  if (operands.length > (operand === undefined ? 0 : 1))
    throw wrong(`one argument too many: ${JSON.stringify(operands.at(-1))}`);
  if (operand !== undefined && operands.length === 0 && !operandOptional) throw wrong(`${operand} is missing`);
  if (operands.includes('')) throw wrong(`${operand} is empty`);
  return { operands, options };
}
