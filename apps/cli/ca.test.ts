import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Authority, Folder } from '../../test/support/pki.js';
import { runCa } from './ca.js';

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `dunlin ca …` on the folder `ca` of the test. */
async function ca(...args: string[]): Promise<Result> {
  let out = '';
  let err = '';
  const code = await runCa([...args, '--folder', folder.at('ca')], {
    stdout: { write: (text) => void (out += Buffer.from(text as string).toString('latin1')) },
    stderr: { write: (text) => void (err += text) },
  });
  return { code, out, err };
}
async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await ca(...args);
  assert.equal(code, 0, `${args.join(' ')}: ${err}`);
  return out;
}
const json = async (...args: string[]) => JSON.parse(await done(...args, '--json'));
async function refused(code: number, pattern: RegExp, ...args: string[]): Promise<void> {
  const result = await ca(...args);
  assert.equal(result.code, code, `${args.join(' ')}: ${result.out}${result.err}`);
  assert.match(result.err, pattern);
  assert.match(result.err, /^dunlin ca: [^\n]+\n$/, 'one line');
  assert.equal(result.out, '');
}

describe('dunlin ca', () => {
  it('explains itself', async () => {
    for (const args of [['--help'], ['-h'], ['help'], ['issue', '--help']]) {
      const out = await done(...args);
      for (const word of 'init import export show issue sign list add revoke authorize remove renew crl server'.split(
        ' ',
      ))
        assert.match(out, new RegExp(`dunlin ca ${word}`));
    }
  });

  it('names wrong arguments, exit code 2', async () => {
    await refused(2, /a command is missing; there are init, import/);
    await refused(2, /unknown command "sing"/, 'sing');
    await refused(2, /a command is missing; there are server show/, 'server');
    await refused(2, /unknown command "mak"; there are server show/, 'server', 'mak');
    await refused(2, /issue: NAME is missing/, 'issue');
    await refused(2, /issue: one argument too many: "b"/, 'issue', 'a', 'b');
    await refused(2, /issue: unknown argument "--dyas"/, 'issue', 'a', '--dyas', '5');
    await refused(2, /issue: --days needs a value/, 'issue', 'a', '--days=');
    await refused(2, /issue: --days is given twice/, 'issue', 'a', '--days', '1', '--days', '2');
    await refused(2, /--days takes a whole number of days, not "soon"/, 'init', '--days', 'soon');
    await refused(2, /--key-type takes one of p256, .* not "dsa"/, 'init', '--key-type', 'dsa');
    await refused(2, /init: --replace takes no value/, 'init', '--replace=yes');
    await refused(2, /there is no file .*none\.csr/, 'sign', folder.at('none.csr'));
    assert.ok(!existsSync(folder.at('ca')));
  });

  it('needs an authority, exit code 1', async () => {
    for (const args of [['show'], ['list'], ['issue', 'a', '--zip', folder.at('a.zip')], ['server', 'show']])
      await refused(1, /holds no certificate authority; dunlin ca init makes one/, ...args);
    assert.ok(!existsSync(folder.at('a.zip')), 'nothing is left behind');
  });

  it('makes one, once', async () => {
    const shown = await done('init', '--name', 'Plant CA', '--days', '100', '--server-name', 'broker.example');
    assert.match(shown, /subject {10}CN=Plant CA\n/);
    assert.match(shown, /issues {11}yes\n/);
    assert.match(shown, /names .*broker\.example/);
    await refused(1, /holds an authority already \(CN=Plant CA\)/, 'init');
    const { authority, server, revocationList, clients } = await json('show');
    assert.equal(authority.subject, 'CN=Plant CA');
    assert.equal(authority.canIssue, true);
    assert.equal(server.origin, 'automatic');
    assert.equal(revocationList.number, 1);
    assert.equal(clients, 0);
    const exported = new X509Certificate(await done('export'));
    assert.equal(exported.fingerprint256.replaceAll(':', '').toLowerCase(), authority.sha256);
    await done('export', '--out', folder.at('ca.pem'));
    assert.equal(statSync(folder.at('ca.pem')).mode & 0o777, 0o644 & ~process.umask(), 'there is nothing secret in it');
    await refused(1, /ca\.pem exists already; nothing is overwritten/, 'export', '--out', folder.at('ca.pem'));
    await done('init', '--name', 'Other', '--replace');
    assert.ok(readdirSync(join(folder.at('ca'), 'replaced')).length > 0);
    // A name asked for outlives renewals by others.
    await done('renew', '--authority', '--days', '50');
    assert.match(await done('show'), /CN=Other/);
  });

  it('issues into a zip or a folder, and overwrites nothing', async () => {
    await done('init');
    const { files, certificate } = await json('issue', 'boiler 7', '--zip', folder.at('boiler.zip'), '--days', '10');
    assert.deepEqual(files, [folder.at('boiler.zip')]);
    assert.equal(certificate.commonName, 'boiler 7');
    assert.equal(statSync(folder.at('boiler.zip')).mode & 0o777, 0o600);
    await refused(1, /boiler\.zip exists already/, 'issue', 'boiler 7', '--zip', folder.at('boiler.zip'));
    assert.equal((await json('list')).length, 1);

    folder.write('password', 'correct horse\n');
    const out = folder.at('pump');
    await done('issue', 'pump', '--out', out, '--password-file', folder.at('password'), '--organization', 'Acme');
    assert.deepEqual(
      readdirSync(out).sort(),
      ['README.txt', 'ca.crt', 'mosquitto.sh', 'mqttjs.mjs', 'pump.crt', 'pump.key', 'pump.p12', 'python.py'].sort(),
    );
    for (const name of ['pump.key', 'pump.p12']) assert.equal(statSync(join(out, name)).mode & 0o777, 0o600);
    writeFileSync(join(out, 'README.txt'), 'mine');
    await refused(1, /exists already/, 'issue', 'pump', '--out', out);
    assert.equal(readFileSync(join(out, 'README.txt'), 'utf8'), 'mine');
    // A certificate of a server is of no use in examples for clients.
    const own = folder.at('own');
    await done('issue', 'hall', '--server', '--name', 'hall.example', '--out', own);
    assert.deepEqual(readdirSync(own).sort(), ['README.txt', 'ca.crt', 'hall.crt', 'hall.key']);
    assert.match(
      readFileSync(join(own, 'README.txt'), 'utf8'),
      /^Certificate of the MQTT server hall\n[\s\S]*hall\.example/,
    );
    folder.write('short', 'abc');
    await refused(
      2,
      /6 to 128 characters/,
      'issue',
      'x',
      '--out',
      folder.at('x'),
      '--password-file',
      folder.at('short'),
    );
    await refused(2, /give either --zip or --out/, 'issue', 'x', '--out', folder.at('x'), '--zip', folder.at('x.zip'));
    await refused(2, /common name has 1 to 64/, 'issue', ' ', '--zip', folder.at('x.zip'));
    await refused(2, /--port takes a number/, 'issue', 'x', '--zip', folder.at('x.zip'), '--port', '99999');
    assert.ok(!existsSync(folder.at('x.zip')));
    const again = await ca('issue', 'pump', '--zip', folder.at('pump2.zip'));
    assert.match(again.err, /another valid certificate has the same common name/);
  });

  it('lists, revokes, authorizes, removes, renews', async () => {
    await done('init');
    assert.equal(await done('list'), 'The list is empty.\n');
    await done('issue', 'one', '--zip', folder.at('one.zip'));
    await done('issue', 'two', '--zip', folder.at('two.zip'));
    assert.match(await done('revoke', 'one', '--reason', 'keyCompromise'), /CN=one: revoked \(keyCompromise\)\n$/);
    assert.match(
      await done('list'),
      /^id .* state .*\n[0-9a-f]{16} {2}revoked .* CN=one\n[0-9a-f]{16} {2}authorized .* CN=two\n$/,
    );
    assert.equal((await json('list', '--revoked')).length, 1);
    assert.equal((await json('list', '--authorized')).length, 1);
    assert.equal((await json('list', '--server')).length, 1);
    assert.equal((await json('crl')).revoked, 1);
    await refused(2, /somebody else may have it/, 'authorize', 'one');
    await done('authorize', 'one', '--force');
    await refused(2, /no certificate on the list has .* "three"/, 'revoke', 'three');
    await refused(2, /"whim" is no reason; there are unspecified/, 'revoke', 'one', '--reason', 'whim');

    const renewed = new X509Certificate(await done('renew', 'two'));
    assert.equal(renewed.subject, 'CN=two');
    await refused(2, /"two" is 2 certificates/, 'revoke', 'two');
    assert.equal((await json('revoke', 'two', '--all')).length, 2);
    const { files } = await json('renew', 'one', '--new-key', '--revoke-old', '--zip', folder.at('one-new.zip'));
    assert.deepEqual(files, [folder.at('one-new.zip')]);
    assert.deepEqual(
      (await json('list')).map(({ commonName, state }: Record<string, string>) => `${commonName} ${state}`),
      ['one revoked', 'two revoked', 'two revoked', 'one authorized'],
    );
    const [{ id }] = await json('list');
    await done('remove', id);
    assert.equal((await json('list')).length, 3);
    assert.equal((await json('crl', '--refresh')).revoked, 3, 'what was removed stays revoked');
    await refused(2, /give either WHICH or --authority/, 'renew');
  });

  it('takes certificates from elsewhere, and their names do not steer the terminal', async () => {
    await done('init');
    const other = await Authority.create('Other CA');
    const issued = await other.issue('thing', { subject: 'CN=evil\u001b[2J\u202e' });
    folder.write('thing.crt', issued.certificate);
    assert.ok(
      !/[\u001b\u202e]/.test(Buffer.from(await done('add', folder.at('thing.crt')), 'latin1').toString('utf8')),
    );
    await done('add', '--serial', '00:0a:ff', '--issuer', 'C = DE, CN = Other CA');
    assert.match(await done('list'), /added +serial number AFF of C = DE, CN = Other CA/);
    await refused(2, /FILE is missing, or --serial and --issuer/, 'add', '--serial', '12');
    await refused(2, /holds no certificate/, 'add', folder.write('text', 'hello -----BEGIN'));
    await refused(2, /serial number is hexadecimal/, 'add', '--serial', 'x', '--issuer', 'CN=a');
  });

  it('signs requests, and says what it did not grant', async () => {
    await done('init');
    await refused(2, /holds no certificate signing request/, 'sign', folder.write('text', 'hello'));
    await refused(
      2,
      /holds no certificate signing request; it holds: CERTIFICATE/,
      'sign',
      join(folder.at('ca'), 'ca.pem'),
    );
  });

  it('takes over an authority without its key, and then with it', async () => {
    const other = await Authority.create('Company CA');
    const [certificate, key] = [folder.write('c.crt', other.certificate), folder.write('c.key', other.key)];
    await refused(
      2,
      /is not that of a certificate/,
      'import',
      certificate,
      '--key',
      folder.write('k', (await other.issue('x')).key),
    );
    assert.match(await done('import', certificate), /issues {11}no: no certificates are issued: the private key/);
    await refused(1, /private key of the authority is not here/, 'issue', 'x', '--zip', folder.at('x.zip'));
    assert.ok(!existsSync(folder.at('x.zip')));
    await refused(1, /there is no revocation list: no certificates are issued/, 'crl');
    assert.match(await done('import', certificate, '--key', key), /issues {11}yes/);
    await refused(1, /already/, 'import', folder.write('d.crt', (await Authority.create('D')).certificate));
    await refused(
      2,
      /is not that of an authority/,
      'import',
      folder.write('l', (await other.issue('l')).certificate),
      '--replace',
    );
  });

  it('keeps the certificate of the server', async () => {
    await done('init');
    assert.match(await done('server', 'show'), /origin {11}made by itself/);
    const made = await json('server', 'create', '--name', 'a.example', '--name', '10.0.0.1', '--days', '30');
    assert.deepEqual(made.names, ['a.example', '10.0.0.1']);
    const exported = new X509Certificate(await done('server', 'export'));
    assert.equal(exported.subject, 'CN=a.example');
    const issued = await (await Authority.create('Other')).issue('own.example', { names: ['own.example'] });
    const certificate = folder.write('s.crt', issued.certificate);
    await refused(2, /holds no private key, and a server needs one/, 'server', 'import', certificate);
    assert.equal(
      (await json('server', 'import', certificate, '--key', folder.write('s.key', issued.key))).origin,
      'imported',
    );
    await done('server', 'import', folder.write('both', issued.key + issued.certificate));
    await refused(2, /needs at least one name/, 'issue', 'x', '--server', '--zip', folder.at('x.zip'));
    const other = await json(
      'issue',
      'bridge',
      '--server',
      '--name',
      'bridge.example',
      '--zip',
      folder.at('bridge.zip'),
    );
    assert.equal(other.certificate.purpose, 'server');
  });

  it('reads settings from the configuration', async () => {
    const file = folder.write(
      'dunlin.yaml',
      `certificateAuthority: { folder: ${folder.at('configured')}, name: Configured }`,
    );
    let out = '';
    const output = {
      stdout: { write: (text: unknown) => void (out += text) },
      stderr: { write: (text: unknown) => void (out += text) },
    };
    assert.equal(await runCa(['init', '-c', file], output), 0, out);
    assert.match(out, /CN=Configured/);
    out = '';
    assert.equal(await runCa(['show', '-c', folder.write('bad.yaml', 'certificateAuthority: { days: 0 }')], output), 2);
    assert.match(out, /bad\.yaml has problems; dunlin config check .*bad\.yaml names them/);
  });

  it('says what the world refused, exit code 1', async () => {
    folder.write('ca', 'a file where the folder should be');
    await refused(1, /ENOTDIR|EEXIST/, 'init');
    await refused(1, /ENOTDIR/, 'show');
  });
});
