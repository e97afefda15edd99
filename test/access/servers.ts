/** The real servers that users and rules are looked up in. */
import { execFileSync } from 'node:child_process';
import { chownSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { find, folderFor, freePort, missing, running, type Server, userOf } from '../support/real-server.js';

const TESTS = 'access control with a real server';
/** `cannot_connect_now` of PostgreSQL. */
const STARTING_UP = '57P03';

export async function startRedis(password: string): Promise<Server | undefined> {
  const program = find('redis-server');
  if (program === undefined) return missing(TESTS, 'redis-server');
  const port = await freePort();
  const folder = folderFor('redis', {});
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  return running(program, [...args, '--requirepass', password], {}, port, folder);
}

/** FerretDB, which speaks MongoDB's protocol, over SQLite; `.ci/run` builds it, since Debian has no MongoDB. */
export async function startFerretdb(): Promise<Server | undefined> {
  const program = find('ferretdb');
  if (program === undefined) return missing(TESTS, 'ferretdb');
  const port = await freePort();
  const folder = folderFor('ferretdb', {});
  const args = ['--handler=sqlite', `--sqlite-url=file:${folder}/`, `--state-dir=${folder}`, '--telemetry=disable'];
  return running(program, [...args, `--listen-addr=127.0.0.1:${port}`, '--debug-addr=-'], {}, port, folder);
}

export async function startPostgres(password: string): Promise<Server | undefined> {
  const initdb = find('initdb');
  if (initdb === undefined) return missing(TESTS, 'postgresql');
  const user = userOf('postgres');
  const folder = folderFor('postgres', user);
  const secret = join(folder, 'secret');
  const data = join(folder, 'data');
  writeFileSync(secret, `${password}\n`);
  if (user.uid !== undefined) chownSync(secret, user.uid, user.gid!);
  execFileSync(
    initdb,
    ['-D', data, '-U', 'dunlin', '-A', 'scram-sha-256', `--pwfile=${secret}`, '-E', 'UTF8', '--no-locale', '-N'],
    {
      ...user,
      cwd: folder,
      stdio: 'pipe',
    },
  );
  const port = await freePort();
  const args = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder, '-c', 'fsync=off'];
  // It listens before it lets anybody in.
  const letsIn = async (): Promise<boolean> => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'dunlin', password, database: 'postgres' });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.end();
      return true;
    } catch (error) {
      if ((error as { code?: string }).code === STARTING_UP) return false;
      throw error;
    }
  };
  return running(join(dirname(initdb), 'postgres'), args, { ...user, cwd: folder }, port, folder, letsIn);
}

export async function startMariadb(): Promise<Server | undefined> {
  const install = find('mariadb-install-db');
  const program = find('mariadbd');
  if (install === undefined || program === undefined) return missing(TESTS, 'mariadb-server');
  const user = userOf('mysql');
  const folder = folderFor('mariadb', user);
  const data = join(folder, 'data');
  execFileSync(
    install,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    {
      ...user,
      cwd: folder,
      stdio: 'pipe',
    },
  );
  const port = await freePort();
  const args = [
    '--no-defaults',
    `--datadir=${data}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 's')}`,
    `--pid-file=${join(folder, 'pid')}`,
  ];
  return running(program, args, { ...user, cwd: folder }, port, folder);
}

/** A directory with the entries of `ldif` below dc=example; its manager is cn=manager,dc=example with `password`. */
export async function startSlapd(
  password: string,
  ldif: string,
  tls?: { readonly certificate: string; readonly key: string },
): Promise<(Server & { readonly securePort: number }) | undefined> {
  const program = find('slapd');
  const slapadd = find('slapadd');
  if (program === undefined || slapadd === undefined) return missing(TESTS, 'slapd');
  const folder = folderFor('slapd', {});
  const file = join(folder, 'slapd.conf');
  const lines = [
    ...['core', 'cosine', 'inetorgperson'].map((schema) => `include /etc/ldap/schema/${schema}.schema`),
    'modulepath /usr/lib/ldap',
    'moduleload back_mdb',
    `pidfile ${join(folder, 'pid')}`,
    'database mdb',
    'suffix "dc=example"',
    'rootdn "cn=manager,dc=example"',
    `rootpw ${password}`,
    `directory ${folder}`,
    'access to attrs=userPassword by anonymous auth by * none',
    'access to dn.subtree="ou=secret,dc=example" by anonymous auth by * none',
    'access to * by users read by anonymous auth',
  ];
  if (tls !== undefined) {
    writeFileSync(join(folder, 'cert.pem'), tls.certificate);
    writeFileSync(join(folder, 'key.pem'), tls.key);
    lines.splice(
      5,
      0,
      `TLSCertificateFile ${join(folder, 'cert.pem')}`,
      `TLSCertificateKeyFile ${join(folder, 'key.pem')}`,
    );
  }
  writeFileSync(file, `${lines.join('\n')}\n`);
  const entries = join(folder, 'entries.ldif');
  writeFileSync(entries, ldif);
  execFileSync(slapadd, ['-f', file, '-l', entries], { stdio: 'pipe' });
  const port = await freePort();
  const securePort = tls === undefined ? 0 : await freePort();
  const urls = [`ldap://127.0.0.1:${port}`, ...(tls === undefined ? [] : [`ldaps://127.0.0.1:${securePort}`])];
  const server = await running(program, ['-f', file, '-h', urls.join(' '), '-d', '0'], {}, port, folder);
  return { ...server, securePort };
}
