/** The settings of dynamic security. */

/** Its name as a source, in the configuration and in the status. */
export const DYNAMIC_SECURITY = 'dynamicSecurity';

export interface DynamicSecurityOptions {
  readonly file: string;
  /** Whose first line is the administrator's password when the file is made. */
  readonly passwordFile?: string;
}
