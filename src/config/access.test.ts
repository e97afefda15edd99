import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatProblem, parseConfig, resolveConfig } from './index.js';

const problemsOf = (text: string) => parseConfig(text, 'f').problems.map(formatProblem);

describe('settings of access', () => {
  it('have their defaults by type', () => {
    const { authentication, authorization } = resolveConfig({
      authentication: [
        { type: 'http', url: 'http://h/x' },
        { type: 'jwt', name: 'tokens', secret: '0123456789abcdef' },
      ],
    });
    const [http, jwt] = authentication;
    assert.ok(http !== undefined && jwt !== undefined);
    assert.equal(http.name, 'http');
    assert.ok(http.type === 'http' && http.method === 'POST' && http.timeoutMs === 5000 && http.requestsMax === 8);
    assert.ok(jwt.type === 'jwt' && jwt.name === 'tokens' && jwt.requireExpiry && !('issuer' in jwt));
    assert.deepEqual(authorization, {
      sources: [],
      noMatch: 'deny',
      denyAction: 'ignore',
      cacheTopicsMax: 128,
      checkRetainedSource: false,
    });
  });

  it('are refused one by one, each in words', () => {
    const problems = problemsOf(`
authentication:
  - { type: postgres, url: 'x' }
  - { type: http, url: 'http://\${username}/x', body: { u: '\${nobody}', p: [1] } }
  - { type: redis, url: 'redis://:s3cret@ x', command: 'FLUSHALL' }
  - { type: users, nmae: x }
  - { nam: x }
  - { type: mongodb, url: 'mongodb://a:1,b:2/', collection: c, filter: '{"u": \${username}}' }
  - users
authorization: { sources: [{ type: rules, rules: [{ permit: maybe, filters: ['a/#/b', '%{x}'] }] }] }
`);
    const expected = [
      /authentication\[0\]\.type: found "postgres", .*; did you mean postgresql\?/,
      /authentication\[1\]\.url: .*host without variables/,
      /authentication\[1\]\.body\.u: found "\$\{nobody\}"/,
      /authentication\[1\]\.body\.p: found a list/,
      /authentication\[2\]\.url: found a value that does not fit/,
      /authentication\[2\]\.command: found "FLUSHALL", allowed is one of these commands/,
      /authentication\[3\]\.nmae: unknown setting; did you mean name\?/,
      /authentication\[4\]\.type: is missing/,
      /authentication\[5\]\.filter: .*JSON/,
      /authentication\[6\]: found "users", allowed is settings with type/,
      /rules\[0\]\.permit: found "maybe"/,
      /rules\[0\]\.filters\[0\]: found "a\/#\/b"/,
      /rules\[0\]\.filters\[1\]: found "%\{x\}"/,
    ];
    assert.equal(problems.length, expected.length, problems.join('\n'));
    for (const [index, pattern] of expected.entries()) assert.match(problems[index]!, pattern);
    assert.ok(!problems.join('\n').includes('s3cret'));
  });

  it('are refused where one does not go with another', () => {
    const problems = problemsOf(`
users: [{ username: ada }, { username: bob, password: x, listeners: [none] }]
listeners: [{ name: l, port: 1883, authentication: [nope] }]
authentication:
  - { type: jwt }
  - { type: jwt, name: b, jwksUrl: 'https://a/b', oidcIssuer: 'https://a' }
  - { type: ldap, url: 'ldaps://x', startTls: true }
  - { type: ip, name: b }
  - { type: certificate, listed: [{ serialNumber: '01' }] }
  - { type: jwt, name: c, secret: 'this is no base64 at all', secretEncoding: base64 }
  - { type: ldap, name: d, url: 'ldap://x', searchBase: x, bindPassword: x, superuserGroup: x }
  - { type: http, url: 'http://x/', method: GET, body: { a: b } }
roles: [{ name: r }, { name: r }]
groups: [{ name: g, roles: [none] }]
`);
    const expected = [
      /users\[1\]\.listeners\[0\]: none is the name of no listener/,
      /listeners\[0\]\.authentication\[0\]: nope is the name of no source/,
      /authentication\[0\]: needs a key/,
      /authentication\[1\]\.jwksUrl: is not allowed together/,
      /authentication\[2\]: needs either userDn or searchBase/,
      /authentication\[2\]\.startTls: is for ldap URLs/,
      /authentication\[3\]\.name: b is already the name/,
      /authentication\[4\]\.listed\[0\]: needs thumbprint/,
      /authentication\[5\]\.secret: is not the base64/,
      /authentication\[6\]\.bindPassword: counts for nothing/,
      /authentication\[6\]\.superuserGroup: counts for nothing/,
      /authentication\[7\]\.body: counts for nothing/,
      /roles\[1\]\.name: r is already the name/,
      /groups\[0\]\.roles\[0\]: none is the name of no role/,
    ];
    assert.equal(problems.length, expected.length, problems.join('\n'));
    for (const [index, pattern] of expected.entries()) assert.match(problems[index]!, pattern);
    assert.match(
      problemsOf('users: [{ username: a }]')[0]!,
      /password: is missing; needed is password or passwordHash/,
    );
    assert.match(
      problemsOf("users: [{ username: a, password: b, passwordHash: '$6$YWJj$YQ==' }]")[0]!,
      /found a value that does not fit/,
    );
    assert.match(
      problemsOf('users: [{ username: a, password: b }]\nauthentication: [{ type: anonymous }]')[0]!,
      /users: count for nothing/,
    );
  });
});
