import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isValidTopicFilter, topicMatches } from '../../protocol/index.js';
import type { Client } from '../policy.js';
import { FilterTemplate, ruleFilterProblem } from './filter-template.js';
import { compileFilter } from './topic-filter.js';

const levels = ['a', 'b', '', '$s'];
const level = fc.constantFrom(...levels);
const topicName = fc
  .array(level, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'))
  .filter((name) => name !== '');
const topicFilter = fc
  .tuple(fc.array(fc.constantFrom(...levels, '+'), { minLength: 0, maxLength: 3 }), fc.boolean())
  .map(([parts, rest]) => [...parts, ...(rest ? ['#'] : [])].join('/'))
  .filter(isValidTopicFilter);

/** Every topic name of up to four levels over the alphabet: more than filters of three levels can tell apart. */
const allNames: string[] = [];
for (let names = levels.map((name) => [name]), depth = 0; depth < 4; depth++) {
  allNames.push(...names.map((parts) => parts.join('/')).filter((name) => name !== ''));
  names = names.flatMap((parts) => levels.map((name) => [...parts, name]));
}

describe('the filter of a rule', () => {
  it('matches topics as a subscription does where it grants', () => {
    fc.assert(
      fc.property(topicFilter, topicName, (filter, name) => {
        assert.equal(compileFilter(filter, true).matches(name), topicMatches(filter, name));
      }),
    );
  });

  it('matches topics below $ as well where it denies', () => {
    for (const filter of ['#', '+/#', '+/b']) assert.ok(compileFilter(filter, false).matches('$s/b'), filter);
    assert.ok(compileFilter('#', false).overlaps('$s/#'));
    assert.ok(!compileFilter('#', true).overlaps('$s/#'));
  });

  it('covers a filter only when it matches all that the filter matches', () => {
    fc.assert(
      fc.property(topicFilter, topicFilter, (filter, asked) => {
        if (!compileFilter(filter, true).covers(asked)) return;
        for (const name of allNames)
          if (topicMatches(asked, name)) assert.ok(topicMatches(filter, name), `${filter} ${asked} ${name}`);
      }),
    );
    for (const [filter, asked, expected] of [
      ['a/#', 'a', true],
      ['a/#', 'a/+/b', true],
      ['a/#', 'a/#', true],
      ['a/+', 'a/#', false],
      ['a/+', 'a/b', true],
      ['a/+/#', 'a/#', false],
      ['+/b', '#', false],
      ['#', '$s/#', false],
      ['#', '#', true],
      ['a/b', 'a/+', false],
    ] as const)
      assert.equal(compileFilter(filter, true).covers(asked), expected, `${filter} ${asked}`);
  });

  it('overlaps a filter when some topic is matched by both', () => {
    fc.assert(
      fc.property(topicFilter, topicFilter, (filter, asked) => {
        const both = allNames.some((name) => topicMatches(filter, name) && topicMatches(asked, name));
        assert.equal(compileFilter(filter, true).overlaps(asked), both, `${filter} ${asked}`);
      }),
    );
  });
});

describe('variables in the filter of a rule', () => {
  const client = (more: Partial<Client>): Client => ({
    clientId: 'dev1',
    username: 'ada',
    protocolVersion: 5,
    listener: 'l',
    address: '10.0.0.1',
    ...more,
  });
  const bound = (text: string, more: Partial<Client> = {}, permit = true) =>
    new FilterTemplate(text, permit).bind({ client: client(more) })?.text;

  it('stand for what is known of the client', () => {
    assert.equal(bound('u/%u/c/%c/#'), 'u/ada/c/dev1/#');
    assert.equal(bound('%a/%l/x-%u-%c'), '10.0.0.1/l/x-ada-dev1');
    assert.equal(bound('100%%/%{username}/${clientid}'), '100%/ada/dev1');
    assert.equal(bound('%{cert_cn}', { certificate: { commonName: 'cn' } as never }), 'cn');
    assert.equal(bound('eq u/%u/#'), 'eq u/ada/#');
    assert.equal(bound('%{attribute.site}/#', { identity: { attributes: { site: 's' } } as never }), 's/#');
  });

  it('never widen a rule that allows', () => {
    for (const username of ['#', '+', 'a/b', 'a/#', 'x+', '\u0000', ''])
      assert.equal(bound('u/%u/#', { username }), undefined, JSON.stringify(username));
    assert.equal(bound('%u/#', { username: '$SYS' }), undefined);
    assert.equal(bound('x%u/#', { username: '$SYS' }), 'x$SYS/#');
    assert.equal(bound('u/%u', { username: undefined }), undefined);
    assert.equal(bound('%{cert_cn}/#'), undefined);
  });

  it('never narrow a rule that denies, and leave it out for those it is not about', () => {
    assert.equal(bound('u/%u/#', { username: 'a/b' }, false), 'u/+/#');
    assert.equal(bound('u/x-%u', { username: '+' }, false), 'u/+');
    assert.equal(bound('u/%u', { username: undefined }, false), undefined);
  });

  it('have known names, in a filter that is one', () => {
    for (const wrong of ['a/#/b', 'a+', '%{nothing}', '${password}', '', 'a\u0000'])
      assert.notEqual(ruleFilterProblem(wrong), undefined, wrong);
    for (const right of ['#', '+/%u', 'eq #', '%c', 'a b']) assert.equal(ruleFilterProblem(right), undefined, right);
  });
});
