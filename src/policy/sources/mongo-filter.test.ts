import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Client } from '../policy.js';
import { MongoFilter, mongoFilterProblem } from './mongo-filter.js';

const client: Client = { clientId: 'c', username: '$name', protocolVersion: 5, listener: 'l', address: '' };

describe('a filter for MongoDB', () => {
  it('takes what a client says for a value, wherever it stands', () => {
    const filter = new MongoFilter(
      '{"username": "${username}", "b": [{"$eq": "x-${clientid}"}, 7, null], "$expr": {"$eq": ["$name", {"$literal": "${username}"}]}}',
      'login',
    );
    const values = filter.values({ client });
    assert.deepEqual(values, ['$name', 'x-c', '$name', '$name']);
    assert.deepEqual(filter.fill(values!), {
      username: '$name',
      b: [{ $eq: 'x-c' }, 7, null],
      $expr: { $eq: ['$name', { $literal: '$name' }] },
    });
    assert.equal(filter.values({ client: { ...client, username: undefined } }), undefined);
  });

  it('has no variables where a string is code, a pattern or the name of a field', () => {
    for (const [text, sentence] of [
      ['{"$where": "this.name == \'${username}\'"}', /below \$where/],
      ['{"$expr": {"$eq": ["$name", "${username}"]}}', /below \$expr/],
      ['{"username": {"$regex": "^${username}$"}}', /below \$regex/],
      ['{"$and": [{"$jsonSchema": {"properties": {"a": {"pattern": "${username}"}}}}]}', /below \$jsonSchema/],
      ['{"username": "${nobody}"}', /not known/],
      ['["${username}"]', /no object/],
      ['"${username}"', /no object/],
    ] as const)
      assert.match(mongoFilterProblem(text, 'login') ?? '', sentence, text);
    assert.equal(mongoFilterProblem('{"username": {"$regex": "^[a-z]+$", "$eq": "${username}"}}', 'login'), undefined);
  });
});
