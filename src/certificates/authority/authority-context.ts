/** What all parts of an authority work with: its folder, its settings, the log and the time. */
import type { Clock, Logger } from '../../base/index.js';
import type { AuthorityFiles } from './authority-files.js';
import type { AuthoritySettings } from './options.js';

export interface AuthorityContext {
  readonly files: AuthorityFiles;
  readonly settings: AuthoritySettings;
  readonly log: Logger;
  readonly clock: Clock;
}
