/** TLS of listeners. */
import { quoted } from '../../base/index.js';
import type { Draft } from './draft.js';
import type { MappedListener } from './map-listeners.js';
import type { Line, Remarks } from './remarks.js';

const onlyTls = [
  'cafile',
  'capath',
  'ciphers',
  'ciphers_tls1.3',
  'crlfile',
  'tls_version',
  'require_certificate',
  'use_identity_as_username',
  'use_subject_as_username',
] as const;

export function mapTls(
  { path, secure, source: { block }, security }: MappedListener,
  draft: Draft,
  remarks: Remarks,
): void {
  const set = (key: string, name: string, value: unknown) => draft.set(`${path}.tls.${key}`, value, block.line(name));
  const keyForm = block.line('tls_keyform');
  if (keyForm !== undefined && keyForm.value !== 'pem')
    remarks.problem(keyForm, `found ${quoted(keyForm.value)}, allowed is only pem: OpenSSL engines cannot be used`);
  if (!secure) {
    for (const name of onlyTls) {
      const line = block.line(name);
      if (line === undefined || block.line('enable_proxy_protocol') !== undefined) continue;
      const demands = /^(require_certificate|use_)/.test(name) && /^(true|1)$/.test(line.value);
      if (demands) remarks.problem(line, 'needs TLS, and the listener has neither certfile and keyfile nor psk_hint');
      else
        remarks.warn(
          line,
          'has no effect: the listener has neither certfile and keyfile nor psk_hint, so it has no TLS',
        );
    }
    return;
  }
  const certificate = block.line('certfile');
  const key = block.line('keyfile');
  if ((certificate === undefined) !== (key === undefined))
    remarks.problem((certificate ?? key)!, `needs ${certificate === undefined ? 'certfile' : 'keyfile'} beside it`);
  set('certificate', 'certfile', certificate?.value);
  set('key', 'keyfile', key?.value);
  set('ciphers', 'ciphers', block.text('ciphers'));
  set('cipherSuites', 'ciphers_tls1.3', block.text('ciphers_tls1.3'));
  mapVersion(block.line('tls_version'), path, draft, remarks);

  const psk = block.line('psk_hint');
  const pskFile = security.line('psk_file');
  if (psk !== undefined) {
    draft.set(`${path}.tls.psk.hint`, psk.value, psk);
    if (pskFile === undefined) remarks.problem(psk, 'needs psk_file: without it no client has a key');
    else draft.set(`${path}.tls.psk.file`, pskFile.value, pskFile);
    set('psk.identityAsUsername', 'use_identity_as_username', block.flag('use_identity_as_username'));
  }

  const required = block.flag('require_certificate') ?? false;
  const authorities = ['cafile', 'capath'].map((name) => block.line(name)).filter((line) => line !== undefined);
  if (required) {
    const line = block.line('require_certificate')!;
    if (authorities.length === 0) remarks.problem(line, 'needs cafile or capath: nothing else says whom to trust');
    draft.set(`${path}.tls.clientCertificate`, 'require', line);
    if (authorities.length > 0)
      draft.set(
        `${path}.tls.clientCa`,
        authorities.map(({ value }) => value),
        authorities[0],
      );
    const list = block.line('crlfile');
    if (list !== undefined) draft.set(`${path}.tls.crl`, [list.value], list);
  } else {
    for (const name of ['use_identity_as_username', 'use_subject_as_username'])
      if (block.flag(name) === true && psk === undefined)
        remarks.problem(block.line(name)!, 'needs require_certificate true');
    if (authorities.length > 0)
      draft.note(`${path}.tls`, 'cafile and capath count for certificates of clients only, and none are asked for');
    if (block.line('crlfile') !== undefined)
      remarks.warn(block.line('crlfile')!, 'has no effect without require_certificate true');
  }
}

function mapVersion(line: Line | undefined, path: string, draft: Draft, remarks: Remarks): void {
  if (line === undefined) return;
  if (line.value === 'tlsv1.1') remarks.warn(line, 'is raised to tlsv1.2: older versions are not spoken');
  const version = { 'tlsv1.3': 'TLSv1.3', 'tlsv1.2': 'TLSv1.2', 'tlsv1.1': 'TLSv1.2' }[line.value];
  if (version === undefined) remarks.problem(line, `found ${quoted(line.value)}, allowed is one of tlsv1.3, tlsv1.2`);
  else draft.set(`${path}.tls.versionMin`, version, line);
}
