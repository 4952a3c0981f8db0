import assert from 'node:assert/strict';
import {test} from 'node:test';

import {FieldValue, GeoPoint, Timestamp} from '@google-cloud/firestore';

import {fill, ids, useEmulator} from './emulator.mjs';

const emulator = useEmulator();

async function roundTrip(value, settings) {
  const ref = emulator.database(settings).doc('a/1');
  await ref.set({value});
  return (await ref.get()).get('value');
}

for (const [name, value] of Object.entries({
  null: null,
  true: true,
  false: false,
  'an empty text': '',
  'a text with all sorts of characters': 'é\0😀\uffff',
  'a small integer': -1,
  'the greatest safe integer': Number.MAX_SAFE_INTEGER,
  'a fraction': 0.1,
  'the greatest double': Number.MAX_VALUE,
  'the least positive double': Number.MIN_VALUE,
  infinity: Infinity,
  'negative infinity': -Infinity,
  NaN: NaN,
  'negative zero': -0,
  'a geo point': new GeoPoint(-90, 180),
  'the epoch': new Timestamp(0, 0),
  'a time before the epoch': new Timestamp(-1, 999_999_000),
  'the first time': new Timestamp(-62_135_596_800, 0),
  'the last time': new Timestamp(253_402_300_799, 999_999_000),
  'a list': [1, 'x', null, {deep: [true]}],
  'an empty list': [],
  'a map': {x: {y: {z: 1}}, '😀': '😜'},
  'an empty map': {},
  'a vector': FieldValue.vector([1.5, -2, 0]),
})) {
  test(`${name} comes back as it was written`, async () => {
    assert.deepStrictEqual(await roundTrip(value), value);
  });
}

for (const value of [2n ** 63n - 1n, -(2n ** 63n), 0n]) {
  test(`the 64-bit integer ${value} comes back as it was written`, async () => {
    assert.strictEqual(await roundTrip(value, {useBigInt: true}), value);
  });
}

test('bytes come back as they were written', async () => {
  const bytes = Buffer.from([0, 1, 0xff]);
  assert.ok(bytes.equals(await roundTrip(bytes)));
  assert.ok(Buffer.alloc(0).equals(await roundTrip(Buffer.alloc(0))));
});

test('a reference comes back as it was written', async () => {
  const db = emulator.database();
  await db.doc('a/1').set({ref: db.doc('b/2/c/3')});
  const ref = (await db.doc('a/1').get()).get('ref');
  assert.ok(ref.isEqual(db.doc('b/2/c/3')));
});

test('a timestamp is cut to microseconds', async () => {
  const kept = await roundTrip(new Timestamp(1, 123_456_789));
  assert.ok(kept.isEqual(new Timestamp(1, 123_456_000)));
});

test('an increment beyond 64 bits stops at the end', async () => {
  const ref = emulator.database({useBigInt: true}).doc('a/1');
  await ref.set({n: 2n ** 63n - 2n});
  await ref.update({n: FieldValue.increment(5)});
  assert.equal((await ref.get()).get('n'), 2n ** 63n - 1n);
});

test('values of different types are ordered as documented', async () => {
  const db = emulator.database();
  const inOrder = [
    null,
    false,
    true,
    NaN,
    -Infinity,
    -1,
    0,
    0.5,
    1,
    Infinity,
    new Timestamp(0, 0),
    new Timestamp(1, 0),
    '',
    'A',
    'a',
    'é',
    '\uffff',
    '😀',
    Buffer.from([0]),
    Buffer.from([0xff]),
    db.doc('a/1'),
    db.doc('a/1/b/1'),
    db.doc('b/1'),
    new GeoPoint(0, 0),
    new GeoPoint(0, 1),
    new GeoPoint(1, 0),
    [],
    [1],
    [1, 2],
    [2],
    FieldValue.vector([-Infinity]),
    FieldValue.vector([100]),
    FieldValue.vector([1, 2]),
    FieldValue.vector([2, 2]),
    FieldValue.vector([1, 2, 3]),
    {},
    {a: 1},
    {a: 1, b: 1},
    {b: 0},
  ];
  const documents = Object.fromEntries(inOrder.map((value, n) => [`${n}`.padStart(2, '0'), {value}]));
  const values = await fill(db.collection('values'), documents);
  assert.deepEqual(await ids(values.orderBy('value')), Object.keys(documents).sort());
  assert.deepEqual(await ids(values.orderBy('value', 'desc')), Object.keys(documents).sort().reverse());
});
