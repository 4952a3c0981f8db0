import assert from 'node:assert/strict';
import {test} from 'node:test';

import {FieldValue} from '@google-cloud/firestore';

import {Code, failure, fill, ids, useEmulator} from './emulator.mjs';

const emulator = useEmulator();
const {vector} = FieldValue;

async function points() {
  return fill(emulator.database().collection('points'), {
    none: {foo: 'bar'},
    other: {foo: 'xxx', at: vector([10, 10]), deep: {at: vector([10, 10])}},
    one: {foo: 'bar', at: vector([1, 1]), deep: {at: vector([1, 1])}},
    ten: {foo: 'bar', at: vector([10, 0])},
    twenty: {foo: 'bar', at: vector([20, 0])},
    far: {foo: 'bar', at: vector([100, 100])},
    short: {foo: 'bar', at: vector([10])},
    list: {foo: 'bar', at: [10, 10]},
    text: {foo: 'bar', at: 'no vector'},
    null: {foo: 'bar', at: null},
  });
}

const nearest = (query, distanceMeasure, rest = {}) =>
  query.findNearest({vectorField: 'at', queryVector: [10, 10], limit: 3, distanceMeasure, ...rest});

test('the nearest vectors are found by each measure', async () => {
  const bar = (await points()).where('foo', '==', 'bar');
  assert.deepEqual(await ids(nearest(bar, 'EUCLIDEAN')), ['ten', 'one', 'twenty']);
  assert.deepEqual(await ids(nearest(bar, 'DOT_PRODUCT')), ['far', 'twenty', 'ten']);
  const byAngle = await ids(nearest(bar, 'COSINE'));
  assert.deepEqual(byAngle.slice(0, 2).sort(), ['far', 'one']);
  assert.ok(['ten', 'twenty'].includes(byAngle[2]));
});

test('values that are no vectors, or of another dimension, are passed over', async () => {
  const all = await points();
  assert.deepEqual(await ids(nearest(all, 'EUCLIDEAN', {limit: 100})), ['other', 'ten', 'one', 'twenty', 'far']);
  assert.deepEqual(await ids(nearest(all, 'EUCLIDEAN', {vectorField: 'absent'})), []);
});

test('a vector in a map is found', async () => {
  const all = await points();
  assert.deepEqual(await ids(nearest(all, 'EUCLIDEAN', {vectorField: 'deep.at'})), ['other', 'one']);
});

test('the distance is told', async () => {
  const found = await nearest(await points(), 'EUCLIDEAN', {distanceResultField: 'distance'}).get();
  assert.deepEqual(found.docs.map(one => one.get('distance')), [0, 10, Math.sqrt(162)]);
});

test('a threshold keeps what is near', async () => {
  const all = await points();
  assert.deepEqual(await ids(nearest(all, 'EUCLIDEAN', {distanceThreshold: 10})), ['other', 'ten']);
  assert.deepEqual(await ids(nearest(all, 'DOT_PRODUCT', {distanceThreshold: 200})), ['far', 'other', 'twenty']);
});

test('selected fields come alone, without the vector', async () => {
  const found = await nearest((await points()).select('foo'), 'EUCLIDEAN').get();
  assert.deepEqual(found.docs.map(one => one.data()), [{foo: 'xxx'}, {foo: 'bar'}, {foo: 'bar'}]);
  const distances = nearest((await points()).select('foo', 'd'), 'EUCLIDEAN', {distanceResultField: 'd', limit: 1});
  assert.deepEqual((await distances.get()).docs[0].data(), {foo: 'xxx', d: 0});
});

test('vectors have up to 2,048 dimensions', async () => {
  const db = emulator.database();
  const long = Array.from({length: 2_048}, (_, n) => n + 1);
  await db.doc('points/1').set({at: vector(long)});
  const found = await nearest(db.collection('points'), 'EUCLIDEAN', {queryVector: long, limit: 1_000}).get();
  assert.deepEqual(found.docs[0].get('at').toArray(), long);
  const longer = nearest(db.collection('points'), 'EUCLIDEAN', {queryVector: [...long, 0]});
  await assert.rejects(longer.get(), failure(Code.INVALID_ARGUMENT));
});
