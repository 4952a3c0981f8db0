import assert from 'node:assert/strict';
import {test} from 'node:test';

import {FieldValue, Timestamp} from '@google-cloud/firestore';

import {Code, failure, fill, ids, useEmulator} from './emulator.mjs';

const emulator = useEmulator();

test('a batch is written at once, in order', async () => {
  const db = emulator.database();
  const [one, two, three] = ['a/1', 'a/2', 'a/3'].map(path => db.doc(path));
  await three.set({});
  const results = await db
    .batch()
    .create(one, {x: 1})
    .update(one, {y: 2})
    .set(two, {at: FieldValue.serverTimestamp()})
    .delete(three)
    .commit();
  assert.equal(results.length, 4);
  assert.ok(results[0].writeTime.isEqual(results[2].writeTime));
  assert.deepEqual((await one.get()).data(), {x: 1, y: 2});
  assert.equal((await two.get()).get('at').toMillis(), results[2].writeTime.toMillis());
  assert.equal((await three.get()).exists, false);
});

test('a batch that fails writes nothing', async () => {
  const db = emulator.database();
  const batch = db.batch().set(db.doc('a/1'), {}).update(db.doc('a/2'), {x: 1});
  await assert.rejects(batch.commit(), failure(Code.NOT_FOUND, /No document to update/));
  assert.equal((await db.doc('a/1').get()).exists, false);
});

test('an empty batch is no error', async () => {
  assert.deepEqual(await emulator.database().batch().commit(), []);
});

test('a document is deleted and created again in one batch', async () => {
  const db = emulator.database();
  const ref = db.doc('a/1');
  await ref.set({x: 1});
  await db.batch().delete(ref).create(ref, {y: 1}).commit();
  assert.deepEqual((await ref.get()).data(), {y: 1});
});

test('a batch may have more than five hundred writes', async () => {
  const db = emulator.database();
  const batch = db.batch();
  for (let n = 0; n < 501; n++) batch.set(db.doc(`a/${n}`), {n});
  await batch.commit();
  assert.equal((await db.collection('a').count().get()).data().count, 501);
});

test('a bulk writer writes everything, and tells when', async () => {
  const db = emulator.database();
  await fill(db.collection('a'), {updated: {x: 1}, deleted: {}});
  const writer = db.bulkWriter();
  const writes = [
    writer.create(db.doc('a/created'), {x: 1}),
    writer.set(db.doc('a/set'), {x: 1}),
    writer.update(db.doc('a/updated'), {x: 2}),
  ];
  const deleted = writer.delete(db.doc('a/deleted'));
  await writer.close();
  for (const write of writes) assert.ok((await write).writeTime.seconds > 0);
  assert.ok((await deleted).writeTime.isEqual(new Timestamp(0, 0)));
  assert.deepEqual(await ids(db.collection('a')), ['created', 'set', 'updated']);
  assert.equal((await db.doc('a/updated').get()).get('x'), 2);
});

test('a bulk writer writes many documents, and one twice', async () => {
  const db = emulator.database();
  const writer = db.bulkWriter({throttling: false});
  for (let n = 0; n < 300; n++) writer.set(db.doc(`a/${n}`), {n});
  const first = writer.set(db.doc('b/1'), {n: 1});
  const second = writer.set(db.doc('b/1'), {n: 2});
  await writer.flush();
  await Promise.all([first, second]);
  await writer.close();
  assert.equal((await db.collection('a').get()).size, 300);
  assert.equal((await db.doc('b/1').get()).get('n'), 2);
});

test('a bulk writer tells of each write that failed, and the others are done', async () => {
  const db = emulator.database();
  await db.doc('a/1').set({});
  const writer = db.bulkWriter();
  const again = assert.rejects(writer.create(db.doc('a/1'), {}), failure(Code.ALREADY_EXISTS));
  const missing = assert.rejects(writer.update(db.doc('a/2'), {x: 1}), failure(Code.NOT_FOUND));
  const fine = writer.set(db.doc('a/3'), {x: 1});
  await writer.close();
  await Promise.all([again, missing, fine]);
  assert.deepEqual(await ids(db.collection('a')), ['1', '3']);
});

test('a bulk writer tries again as often as it is told to', async () => {
  const db = emulator.database();
  const writer = db.bulkWriter();
  let failed;
  writer.onWriteError(error => {
    failed = error.failedAttempts;
    return failed < 3;
  });
  const refused = assert.rejects(writer.create(db.doc('a/__reserved__'), {}), failure(Code.INVALID_ARGUMENT));
  await writer.close();
  await refused;
  assert.equal(failed, 3);
});
