import assert from 'node:assert/strict';
import {test} from 'node:test';

import {FieldValue} from '@google-cloud/firestore';

import {fill, useEmulator} from './emulator.mjs';

const emulator = useEmulator();

const cells = () =>
  fill(emulator.database().collection('cells'), {
    1: {n: 1, at: FieldValue.vector([1, 1])},
    2: {n: 2, at: FieldValue.vector([2, 2])},
    3: {n: 1},
  });

function assertRan(metrics, results) {
  assert.ok(metrics.planSummary.indexesUsed.length > 0);
  const stats = metrics.executionStats;
  assert.equal(stats.resultsReturned, results);
  assert.ok(stats.readOperations > 0);
  assert.ok(stats.executionDuration.seconds > 0 || stats.executionDuration.nanoseconds > 0);
  assert.ok(Object.keys(stats.debugStats).length > 0);
}

for (const [name, queryOf, results] of [
  ['a query', all => all.where('n', '==', 1), 2],
  ['a query without results', all => all.where('n', '==', 9), 0],
  ['an aggregation', all => all.where('n', '<', 9).count(), 1],
  [
    'a vector query',
    all => all.findNearest({vectorField: 'at', queryVector: [1, 3], limit: 10, distanceMeasure: 'EUCLIDEAN'}),
    2,
  ],
]) {
  test(`${name} is planned without being run`, async () => {
    const query = queryOf(await cells());
    for (const options of [undefined, {analyze: false}]) {
      const {metrics, snapshot} = await query.explain(options);
      assert.ok(metrics.planSummary.indexesUsed.length > 0);
      assert.equal(metrics.executionStats, null);
      assert.equal(snapshot, null);
    }
  });

  test(`${name} is run and measured`, async () => {
    const {metrics, snapshot} = await queryOf(await cells()).explain({analyze: true});
    assertRan(metrics, results);
    assert.equal(snapshot.size ?? 1, results);
  });
}

test('a plan names its index', async () => {
  const {metrics} = await (await cells()).where('n', '==', 1).explain();
  assert.deepEqual(metrics.planSummary.indexesUsed, [
    {query_scope: 'Collection', properties: '(n ASC, __name__ ASC)'},
  ]);
});

test('a measured stream has its metrics with its last document', async () => {
  const seen = [];
  const stream = (await cells()).where('n', '==', 1).explainStream({analyze: true});
  for await (const {document, metrics} of stream) seen.push([document?.id, metrics !== undefined]);
  assert.deepEqual(seen, [['1', false], ['3', true]]);
});

test('a stream that is only planned has its metrics alone', async () => {
  for (const options of [undefined, {analyze: false}]) {
    const seen = [];
    for await (const one of (await cells()).explainStream(options)) seen.push(one);
    assert.equal(seen.length, 1);
    assert.equal(seen[0].document, undefined);
    assert.equal(seen[0].metrics.executionStats, null);
  }
});
