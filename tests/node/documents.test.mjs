import assert from 'node:assert/strict';
import {test} from 'node:test';

import {FieldPath, FieldValue, Timestamp} from '@google-cloud/firestore';

import {Code, failure, fill, useEmulator} from './emulator.mjs';

const emulator = useEmulator();

test('a document is created, read, merged, updated and deleted', async () => {
  const ref = emulator.database().doc('a/1');
  assert.equal((await ref.get()).exists, false);
  await ref.create({x: 1, m: {a: 1}});
  await ref.set({m: {b: 2}}, {merge: true});
  await ref.update({'m.c': 3, x: FieldValue.delete()});
  assert.deepEqual((await ref.get()).data(), {m: {a: 1, b: 2, c: 3}});
  await ref.set({y: 1});
  assert.deepEqual((await ref.get()).data(), {y: 1});
  await ref.delete();
  assert.equal((await ref.get()).exists, false);
  await ref.delete();
});

test('a document knows when it was created, changed and read', async () => {
  const ref = emulator.database().doc('a/1');
  const {writeTime} = await ref.set({x: 1});
  const first = await ref.get();
  assert.ok(first.createTime.isEqual(writeTime));
  assert.ok(first.updateTime.isEqual(writeTime));
  assert.ok(first.readTime >= writeTime);
  await ref.set({x: 2});
  const second = await ref.get();
  assert.ok(second.createTime.isEqual(writeTime));
  assert.ok(second.updateTime > writeTime);
});

test('a write that changes nothing keeps the update time', async () => {
  const ref = emulator.database().doc('a/1');
  const first = await ref.set({x: 1});
  const second = await ref.set({x: 1});
  assert.ok(second.writeTime.isEqual(first.writeTime));
});

test('a document is not created twice', async () => {
  const ref = emulator.database().doc('a/1');
  await ref.create({});
  await assert.rejects(ref.create({}), failure(Code.ALREADY_EXISTS, /Document already exists/));
});

test('a document that is not there is not updated', async () => {
  const ref = emulator.database().doc('a/1');
  await assert.rejects(ref.update({x: 1}), failure(Code.NOT_FOUND, /No document to update/));
  await assert.rejects(ref.delete({exists: true}), failure(Code.NOT_FOUND, /No document to update/));
});

test('a write may ask for the update time that it knows', async () => {
  const ref = emulator.database().doc('a/1');
  const {writeTime: first} = await ref.set({x: 1});
  const {writeTime: second} = await ref.update({x: 2}, {lastUpdateTime: first});
  await assert.rejects(ref.update({x: 3}, {lastUpdateTime: first}), failure(Code.FAILED_PRECONDITION));
  const future = new Timestamp(second.seconds + 3600, second.nanoseconds);
  await assert.rejects(ref.delete({lastUpdateTime: future}), failure(Code.INVALID_ARGUMENT));
  await ref.delete({lastUpdateTime: second});
});

test('an added document gets an ID', async () => {
  const ref = await emulator.database().collection('a').add({x: 1});
  assert.match(ref.id, /^[A-Za-z0-9]{20}$/);
  assert.equal((await ref.get()).get('x'), 1);
});

test('many documents are read at once, also with a field mask', async () => {
  const db = emulator.database();
  await fill(db.collection('a'), {1: {x: 1, y: 1}, 3: {x: 3, y: 3}});
  const refs = ['1', '2', '3'].map(id => db.doc(`a/${id}`));
  assert.deepEqual(
    (await db.getAll(...refs)).map(one => [one.id, one.exists]),
    [['1', true], ['2', false], ['3', true]],
  );
  const [first] = await db.getAll(refs[0], {fieldMask: ['x']});
  assert.deepEqual(first.data(), {x: 1});
});

test('field names may hold anything', async () => {
  const ref = emulator.database().doc('a/1');
  const name = '!.\\`é';
  await ref.set({[name]: {[name]: 1}});
  await ref.update(new FieldPath(name, name), 2);
  assert.deepEqual((await ref.get()).data(), {[name]: {[name]: 2}});
});

test('document IDs may hold any Unicode', async () => {
  const db = emulator.database();
  await db.doc('доброе утро/😀').set({x: 1});
  assert.equal((await db.collection('доброе утро').get()).docs[0].id, '😀');
});

test('a reserved ID is refused', async () => {
  const ref = emulator.database().doc('a/__reserved__');
  await assert.rejects(ref.set({}), failure(Code.INVALID_ARGUMENT, /reserved/));
});

test('a document over a mebibyte is refused', async () => {
  const ref = emulator.database().doc('a/1');
  await ref.set({x: 'x'.repeat(1_000_000)});
  await assert.rejects(ref.set({x: 'x'.repeat(1_048_576)}), failure(Code.INVALID_ARGUMENT));
});

test('server timestamps, increments and array changes are computed by the server', async () => {
  const ref = emulator.database().doc('a/1');
  const {writeTime} = await ref.set({
    at: FieldValue.serverTimestamp(),
    deep: {at: FieldValue.serverTimestamp()},
    n: FieldValue.increment(1),
    list: FieldValue.arrayUnion('a', 'b'),
  });
  const first = (await ref.get()).data();
  assert.equal(first.at.toMillis(), writeTime.toMillis()); // it has milliseconds only
  assert.ok(first.deep.at.isEqual(first.at));
  await ref.update({
    n: FieldValue.increment(1.5),
    list: FieldValue.arrayUnion('b', 'c'),
    'deep.removed': FieldValue.arrayRemove('x'),
  });
  const second = (await ref.get()).data();
  assert.equal(second.n, 2.5);
  assert.deepEqual(second.list, ['a', 'b', 'c']);
  assert.deepEqual(second.deep.removed, []);
  await ref.update({list: FieldValue.arrayRemove('a', 'c')});
  assert.deepEqual((await ref.get()).get('list'), ['b']);
});

test('fields come and go as merges and updates say', async () => {
  const ref = emulator.database().doc('a/1');
  const gone = FieldValue.delete();
  const merge = {merge: true};
  for (const [write, expected] of [
    [() => ref.set({a: {b: 1}}), {a: {b: 1}}],
    [() => ref.set({}, merge), {a: {b: 1}}],
    [() => ref.set({a: {c: 2}}, merge), {a: {b: 1, c: 2}}],
    [() => ref.set({a: {b: gone, c: gone}}, merge), {a: {}}],
    [() => ref.set({d: {e: {}}}, merge), {a: {}, d: {e: {}}}],
    [() => ref.set({d: 1, f: 2}, {mergeFields: ['f']}), {a: {}, d: {e: {}}, f: 2}],
    [() => ref.update({'g.h': 3}), {a: {}, d: {e: {}}, f: 2, g: {h: 3}}],
    [() => ref.update({d: gone, 'g.h': gone, none: gone}), {a: {}, f: 2, g: {}}],
    [() => ref.update({g: {i: {}}}), {a: {}, f: 2, g: {i: {}}}],
    [() => ref.set({}), {}],
  ]) {
    await write();
    assert.deepEqual((await ref.get()).data(), expected);
  }
});
