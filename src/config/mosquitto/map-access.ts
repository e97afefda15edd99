/**
 * Who may connect and what for: password files, access lists, plugins that are built in here.
 *
 * Each listener ends up with a list of sources. Where all listeners have the same, the sources hold for everybody and no listener names
 * them, as one would write it by hand.
 */
import { dirname } from 'node:path';
import { quoted } from '../../base/index.js';
import type { Draft } from './draft.js';
import type { MappedListener } from './map-listeners.js';
import type { Line, Remarks } from './remarks.js';
import type { Block, PluginBlock, Sections } from './sections.js';

/** As it will stand in the configuration. */
interface Source {
  readonly type: string;
  readonly name: string;
  readonly path?: string;
  readonly [setting: string]: unknown;
}

interface Sources {
  readonly authentication: Map<string, Source>;
  readonly authorization: Map<string, Source>;
}

/** What plugins add to a listener. */
interface FromPlugins {
  readonly passwordFiles: readonly Line[];
  readonly aclFiles: readonly Line[];
  readonly dynamicSecurity: boolean;
}

/** How lists of sources name dynamic security, which is there without being defined among them. */
const DYNAMIC: Source = { type: 'dynamicSecurity', name: 'dynamicSecurity' };
const EVERYONE: Source = { type: 'clientId', name: 'everyone', admit: ['/[^]*/'] };
const EVERYTHING: Source = {
  type: 'rules',
  name: 'everything',
  rules: [{ permit: 'allow', filters: ['#', '$SYS/#', '$CONTROL/#'] }],
};

export function mapAccess(
  sections: Sections,
  listeners: readonly MappedListener[],
  file: string,
  draft: Draft,
  remarks: Remarks,
): void {
  const known: Sources = { authentication: new Map(), authorization: new Map() };
  const plugins = mapPlugins(sections, draft, remarks);
  const chains = listeners.map((listener) => {
    const found = pluginsOf(plugins, sections, listener);
    mapListenerClients(listener, draft);
    return {
      listener,
      authentication: authenticationOf(listener, found, known),
      authorization: authorizationOf(listener.security, found, known),
      dynamic: found.dynamicSecurity,
    };
  });
  if (chains.every(({ authentication: [only, ...more] }) => only === EVERYONE.name && more.length === 0))
    known.authentication.clear();
  if (chains.every(({ authorization: [only, ...more] }) => only === EVERYTHING.name && more.length === 0))
    known.authorization.clear();
  const defined = (sources: ReadonlyMap<string, Source>) =>
    [...sources.values()].filter((source) => source !== DYNAMIC);
  const authentication = defined(known.authentication);
  const authorization = defined(known.authorization);
  if (authentication.length > 0) draft.set('authentication', authentication, undefined);
  if (authorization.length > 0) draft.set('authorization.sources', authorization, undefined);
  if (known.authorization.size > 0)
    draft.set(
      'authorization.checkRetainedSource',
      sections.global.flag('check_retain_source') ?? true,
      sections.global.line('check_retain_source'),
    );
  for (const { listener, ...chain } of chains) {
    for (const kind of ['authentication', 'authorization'] as const) {
      const all = [...known[kind].keys()];
      if (all.length > 0 && all.join(' ') !== chain[kind].join(' '))
        draft.set(`${listener.path}.${kind}`, chain[kind], listener.source.block.begin);
    }
    if (chain.authentication.includes('users') && !chain.dynamic && !listener.localOnly)
      warnLockedOut(listener, file, remarks);
  }
}

function warnLockedOut({ name, source }: MappedListener, file: string, remarks: Remarks): void {
  const sentence = 'nobody can connect here: allow_anonymous is not true, and nothing says who may';
  if (source.block.begin === undefined) remarks.warnOf(file, `listener ${name}: ${sentence}`);
  else remarks.warn(source.block.begin, sentence);
}

function mapListenerClients({ path, source: { block }, security, localOnly }: MappedListener, draft: Draft): void {
  const own = block.flag('listener_allow_anonymous');
  const all = security.flag('allow_anonymous');
  const line = own === undefined ? security.line('allow_anonymous') : block.line('listener_allow_anonymous');
  draft.set(`${path}.allowAnonymous`, own ?? all ?? localOnly, line);
  draft.set(
    `${path}.emptyClientIds`,
    security.flag('allow_zero_length_clientid'),
    security.line('allow_zero_length_clientid'),
  );
  const prefix = block.line('listener_auto_id_prefix') ?? security.line('auto_id_prefix');
  draft.set(`${path}.clientIdPrefix`, prefix?.value, prefix);
}

function authenticationOf(
  { source: { block }, security, localOnly }: MappedListener,
  plugins: FromPlugins,
  { authentication }: Sources,
): string[] {
  const add = (source: Source): string => {
    authentication.set(source.name, source);
    return source.name;
  };
  const byCertificate = block.flag('require_certificate') === true;
  const names: string[] = plugins.dynamicSecurity ? [add(DYNAMIC)] : [];
  if (byCertificate && block.flag('use_identity_as_username') === true)
    return [add({ type: 'certificate', name: 'common-name' })];
  if (byCertificate && block.flag('use_subject_as_username') === true)
    return [add({ type: 'certificate', name: 'subject', username: 'subject' })];
  const files = [security.line('password_file'), ...plugins.passwordFiles].filter((line) => line !== undefined);
  for (const { value } of files) names.push(add(fileSource('passwordFile', 'passwords', value, authentication)));
  if (names.length > 0) return names;
  const anonymous = block.flag('listener_allow_anonymous') ?? security.flag('allow_anonymous') ?? localOnly;
  if (anonymous) return [add(EVERYONE)];
  return [add({ type: 'users', name: 'users' })];
}

function authorizationOf(security: Block, plugins: FromPlugins, { authorization }: Sources): string[] {
  const files = [security.line('acl_file'), ...plugins.aclFiles].filter((line) => line !== undefined);
  const dynamic = plugins.dynamicSecurity ? [DYNAMIC.name] : [];
  if (plugins.dynamicSecurity) authorization.set(DYNAMIC.name, DYNAMIC);
  if (files.length === 0 && plugins.dynamicSecurity) return dynamic;
  if (files.length === 0) {
    authorization.set(EVERYTHING.name, EVERYTHING);
    return [EVERYTHING.name];
  }
  const lists = files.map(({ value }) => {
    const source = fileSource('mosquittoAclFile', 'acl', value, authorization);
    authorization.set(source.name, source);
    return source.name;
  });
  return [...dynamic, ...lists];
}

/** One source for each file, whoever asks for it. */
function fileSource(type: string, base: string, path: string, known: ReadonlyMap<string, Source>): Source {
  for (const source of known.values()) if (source.type === type && source.path === path) return source;
  let name = base;
  for (let number = 2; known.has(name); number++) name = `${base}-${number}`;
  return { type, name, path };
}

type PluginKind = 'dynamicSecurity' | 'passwordFile' | 'aclFile' | 'persistence';

interface MappedPlugin {
  readonly kind: PluginKind;
  readonly plugin: PluginBlock;
  readonly path: Line;
}

const kinds: readonly (readonly [RegExp, PluginKind, string])[] = [
  [/mosquitto_dynamic_security/, 'dynamicSecurity', 'config_file'],
  [/mosquitto_password_file/, 'passwordFile', 'password_file'],
  [/mosquitto_acl_file/, 'aclFile', 'acl_file'],
  [/mosquitto_persist_sqlite/, 'persistence', 'db_file'],
];

function mapPlugins({ plugins }: Sections, draft: Draft, remarks: Remarks): MappedPlugin[] {
  const mapped: MappedPlugin[] = [];
  for (const plugin of plugins) {
    const found = kinds.find(([pattern]) => pattern.test(plugin.path));
    if (found === undefined) {
      remarks.problem(
        plugin.line,
        `${quoted(plugin.path)} is C code for Mosquitto and cannot be loaded; authentication, authorization and rules of this broker may do what it does`,
      );
      continue;
    }
    const [, kind, option] = found;
    const path = plugin.options.get(option);
    for (const [name, line] of plugin.options)
      if (
        name !== option &&
        !(kind === 'persistence' && ['sync', 'flush_period', 'page_size'].includes(name)) &&
        !(kind === 'dynamicSecurity' && name === 'password_init_file')
      )
        remarks.problem(
          line,
          `is no option of ${kind === 'persistence' ? 'this plugin' : plugin.path} that is known here`,
        );
    if (kind === 'persistence') {
      mapPersistence(plugin, draft, remarks);
      continue;
    }
    if (path === undefined) remarks.problem(plugin.line, `needs plugin_opt_${option}`);
    else mapped.push({ kind, plugin, path });
  }
  const dynamic = mapped.filter(({ kind }) => kind === 'dynamicSecurity');
  if (dynamic[0] !== undefined) draft.set('dynamicSecurity.file', dynamic[0].path.value, dynamic[0].path);
  for (const { plugin } of dynamic.slice(1))
    remarks.problem(plugin.line, 'dynamic security is there once, for the whole broker');
  const initial = dynamic[0]?.plugin.options.get('password_init_file');
  draft.set('dynamicSecurity.passwordFile', initial?.value, initial);
  return mapped;
}

function mapPersistence({ options, line }: PluginBlock, draft: Draft, remarks: Remarks): void {
  const file = options.get('db_file');
  const sync = options.get('sync')?.value ?? 'normal';
  draft.set('storage.mode', sync === 'off' ? 'buffered' : 'sync', options.get('sync') ?? line);
  draft.set('storage.path', `${file?.value ?? 'mosquitto.sqlite3'}.dunlin`, file ?? line);
  draft.note(
    'storage',
    `mosquitto_persist_sqlite: this folder beside ${dirname(file?.value ?? '.')} is written instead of a database`,
  );
  for (const name of ['flush_period', 'page_size'])
    if (options.has(name))
      remarks.warn(options.get(name)!, 'has no effect here: what is to be kept is written when it happens');
}

function pluginsOf(
  plugins: readonly MappedPlugin[],
  { perListener }: Sections,
  { source }: MappedListener,
): FromPlugins {
  const used = source.security.all('plugin_use').map(({ value }) => value);
  const here = plugins.filter(({ plugin }) =>
    plugin.name !== undefined
      ? used.includes(plugin.name)
      : plugin.global || !perListener || plugin.listener === source,
  );
  const of = (kind: PluginKind) => here.filter((plugin) => plugin.kind === kind).map(({ path }) => path);
  return {
    passwordFiles: of('passwordFile'),
    aclFiles: of('aclFile'),
    dynamicSecurity: of('dynamicSecurity').length > 0,
  };
}
