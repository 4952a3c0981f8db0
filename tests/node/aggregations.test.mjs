import assert from 'node:assert/strict';
import {test} from 'node:test';

import {AggregateField} from '@google-cloud/firestore';

import {Code, failure, fill, useEmulator} from './emulator.mjs';

const emulator = useEmulator();
const {average, count, sum} = AggregateField;

async function books() {
  return fill(emulator.database().collection('books'), {
    a: {pages: 100, year: 1980, price: 1.5},
    b: {pages: 50, year: 2020, price: 2},
    c: {pages: 150, year: 2021, price: NaN},
    d: {pages: 50},
  });
}

const of = async (query, fields) => (await query.aggregate(fields).get()).data();

test('documents are counted', async () => {
  const all = await books();
  const snapshot = await all.count().get();
  assert.deepEqual(snapshot.data(), {count: 4});
  assert.ok(snapshot.readTime.seconds > 0);
  assert.deepEqual(await of(all.where('pages', '>', 50), {n: count()}), {n: 2});
  assert.deepEqual(await of(all.limit(3), {n: count()}), {n: 3});
  assert.deepEqual(await of(all.orderBy('pages').startAfter(50), {n: count()}), {n: 2});
  assert.deepEqual(await of(all.firestore.collectionGroup('books'), {n: count()}), {n: 4});
});

test('numbers are summed and averaged', async () => {
  const all = await books();
  assert.deepEqual(await of(all, {sum: sum('pages'), mean: average('pages')}), {sum: 350, mean: 87.5});
  assert.deepEqual(await of(all.where('year', '<', 2021), {sum: sum('price')}), {sum: 3.5});
  assert.deepEqual(await of(all, {sum: sum('price'), mean: average('price')}), {sum: NaN, mean: NaN});
});

test('nothing has a sum of zero and no average', async () => {
  const none = emulator.database().collection('none');
  assert.deepEqual(await of(none, {n: count(), sum: sum('x'), mean: average('x')}), {n: 0, sum: 0, mean: null});
});

test('several aggregations see the documents that have all their fields', async () => {
  const fields = {pages: sum('pages'), mean: average('pages'), year: average('year'), n: count()};
  assert.deepEqual(await of(await books(), fields), {pages: 300, mean: 100, year: 2007, n: 3});
});

test('sums beyond 64 bits become doubles', async () => {
  const db = emulator.database({useBigInt: true});
  const cells = await fill(db.collection('cells'), {1: {n: 2n ** 63n - 1n}, 2: {n: 2n ** 63n - 1n}});
  assert.deepEqual(await of(cells, {sum: sum('n')}), {sum: 2 ** 64});
});

test('more than five aggregations are refused', async () => {
  const fields = Object.fromEntries(Array.from({length: 6}, (_, n) => [`n${n}`, count()]));
  await assert.rejects(of(await books(), fields), failure(Code.INVALID_ARGUMENT, /maximum number of aggregations/));
});

test('a transaction aggregates', async () => {
  const all = await books();
  const snapshot = await all.firestore.runTransaction(transaction => transaction.get(all.count()));
  assert.deepEqual(snapshot.data(), {count: 4});
});
