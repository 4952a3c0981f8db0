import assert from 'node:assert/strict';
import {test} from 'node:test';

import {fill, ids, useEmulator} from './emulator.mjs';

const emulator = useEmulator();

async function tree(db) {
  const batch = db.batch();
  for (const path of ['a/1', 'a/2/b/3', 'a/2/b/4/c/5', 'a/2/bb/6', 'a/7/b/8', 'd/9']) batch.set(db.doc(path), {});
  await batch.commit();
  return db;
}

const listed = references => references.map(one => one.id);

test('documents are listed, also those that have only collections', async () => {
  const db = await tree(emulator.database());
  assert.deepEqual(listed(await db.collection('a').listDocuments()), ['1', '2', '7']);
  assert.deepEqual(await ids(db.collection('a')), ['1']);
  assert.deepEqual(await db.collection('none').listDocuments(), []);
});

test('more documents are listed than go on a page', async () => {
  const db = emulator.database();
  const documents = Object.fromEntries(Array.from({length: 401}, (_, n) => [`${n}`.padStart(3, '0'), {}]));
  await fill(db.collection('a'), documents);
  assert.deepEqual(listed(await db.collection('a').listDocuments()), Object.keys(documents).sort());
});

test('collections are listed, in the order of their IDs', async () => {
  const db = await tree(emulator.database());
  assert.deepEqual(listed(await db.listCollections()), ['a', 'd']);
  assert.deepEqual(listed(await db.doc('a/2').listCollections()), ['b', 'bb']);
  assert.deepEqual(await db.doc('a/1').listCollections(), []);
});

test('a collection is deleted with all that lies below', async () => {
  const db = await tree(emulator.database());
  await db.recursiveDelete(db.collection('a'));
  assert.deepEqual(listed(await db.listCollections()), ['d']);
});

test('a document is deleted with all that lies below', async () => {
  const db = await tree(emulator.database());
  await db.recursiveDelete(db.doc('a/2'));
  assert.deepEqual(listed(await db.collection('a').listDocuments()), ['1', '7']);
  await db.recursiveDelete(db.doc('a/1'));
  assert.deepEqual(listed(await db.collection('a').listDocuments()), ['7']);
});

test('a recursive delete tells of each document', async () => {
  const db = await tree(emulator.database());
  const writer = db.bulkWriter();
  const deleted = [];
  writer.onWriteResult(ref => deleted.push(ref.path));
  await db.recursiveDelete(db.doc('a/2'), writer);
  await writer.close();
  assert.deepEqual(deleted.sort(), ['a/2', 'a/2/b/3', 'a/2/b/4/c/5', 'a/2/bb/6']);
});

test('a collection group is parted into queries that give all its documents once', async () => {
  const db = emulator.database();
  const batch = db.batch();
  for (let n = 0; n < 500; n++) batch.set(db.doc(`a/${n % 7}/cells/${n}`), {n});
  await batch.commit();
  const partitions = [];
  for await (const partition of db.collectionGroup('cells').getPartitions(4)) partitions.push(partition);
  assert.ok(partitions.length >= 2 && partitions.length <= 4, `${partitions.length} partitions`);
  assert.equal(partitions[0].startAt, undefined);
  assert.equal(partitions.at(-1).endBefore, undefined);
  const seen = [];
  for (const partition of partitions) seen.push(...(await ids(partition.toQuery())));
  assert.equal(seen.length, 500);
  assert.equal(new Set(seen).size, 500);
});

test('an empty collection group is one partition', async () => {
  const partitions = [];
  const none = emulator.database().collectionGroup('none');
  for await (const partition of none.getPartitions(3)) partitions.push(partition);
  assert.equal(partitions.length, 1);
});
