import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { comparedAttributes, namingAttribute, oneName, valuesOf } from './ldap-names.js';

describe('the attributes with the user name', () => {
  it('are those that the filter compares as a whole', () => {
    assert.deepEqual(comparedAttributes('(&(objectClass=person)(|(uid=${username})(mail=${username})))'), [
      'uid',
      'mail',
    ]);
    assert.deepEqual(comparedAttributes('(mail=${username}@*)'), []);
  });

  it('is that which names the entry', () => {
    for (const [userDn, expected] of [
      ['uid=${username},ou=people,dc=example', ['uid']],
      ['sn=x+cn=${username},dc=example', ['cn']],
      ['cn=${username}+sn=x,dc=example', ['cn']],
      ['cn=device-${username},dc=example', []],
      ['cn=x,ou=${username},dc=example', []],
      ['${username}@example.com', []],
    ] as const)
      assert.deepEqual(namingAttribute(userDn), expected, userDn);
  });

  it('are found however the directory writes them', () => {
    assert.deepEqual(valuesOf({ dn: 'x', UID: ['a', 'b'], mail: 'c' }, ['uid', 'Mail']), ['a', 'b', 'c']);
    assert.deepEqual(valuesOf({ dn: 'x' }, ['uid']), []);
  });
});

describe('the one name of a user', () => {
  it('is as the directory writes it', () => {
    for (const typed of ['Ada L', 'ada l', ' ADA   L ', '\uff21da L']) assert.equal(oneName(typed, ['Ada L']), 'Ada L');
    assert.equal(oneName('ADA@EXAMPLE', ['ada', 'ada@example']), 'ada@example');
    assert.equal(oneName('strasse', ['straße']), 'straße', 'what the directory holds for the same is the same');
  });

  it('is unknown where the directory has several, none of which is alike', () => {
    assert.equal(oneName('strasse', ['straße', 'other']), undefined);
  });

  it('is as typed where the directory does not say, if nothing else could be typed', () => {
    for (const typed of ['ada', 'ada-7@example.com', 'a b']) assert.equal(oneName(typed, []), typed);
    for (const typed of ['Ada', 'ada ', ' ada', 'a  b', 'straße', 'a\u00adda'])
      assert.equal(oneName(typed, []), undefined, typed);
  });
});
