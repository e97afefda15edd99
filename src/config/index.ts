export { addressesOverlap, isLoopback } from './address.js';
export type { BridgeConfig, BridgeInput } from './bridge-schema.js';
export { type CheckedFiles, checkFiles } from './check-files.js';
export { type ConfigChange, diffConfig, isAccess } from './diff.js';
export {
  defaultConfig,
  type LoadedConfig,
  loadConfig,
  parseConfig,
  type ResolveOptions,
  resolveBridge,
  resolveConfig,
} from './load.js';
export { isMosquittoConf, type LoadedFile, loadConfigFile, resolveMosquitto } from './load-file.js';
export { convertMosquitto } from './mosquitto/convert.js';
export { formatMosquittoGuide } from './mosquitto/guide.js';
export { type MappedMosquitto, mapMosquittoFile, mapMosquittoText } from './mosquitto/map.js';
export { nearest } from './nearest.js';
export { ConfigError, formatProblem, type Problem } from './problem.js';
export { formatReference } from './reference.js';
export { isSecure, isWebSocket } from './rules.js';
export type { Config, ConfigInput, ListenerConfig, ListenerInput, TlsConfig, UserConfig } from './schema.js';
export type { ApplyClass } from './setting.js';
