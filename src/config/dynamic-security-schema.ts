/** Settings of dynamic security: users, groups and roles that commands over MQTT change. */
import { group, text } from './setting.js';

const apply = 'restart';
const isPath = (value: string) => value !== '' && !/[\u0000-\u001f\u007f]/.test(value);

export const dynamicSecuritySettings = group({
  sentence:
    'Users, groups and roles in the file of the dynamic security plugin of Mosquitto, changed by commands on `$CONTROL/dynamic-security/v1`. With it `dynamicSecurity` is the first source of `authentication` and of `authorization`.',
  fields: {
    file: text({
      sentence:
        'The file, made with an administrator when it is not there; without this setting there is no dynamic security.',
      apply,
      allowed: 'path',
      check: isPath,
      optional: true,
    }),
    passwordFile: text({
      sentence:
        'File whose first line is the password of the administrator when `file` is made; without it a random one is written to a file beside, with `.pw` at the end of its name.',
      apply,
      allowed: 'path',
      check: isPath,
      optional: true,
    }),
  },
});
