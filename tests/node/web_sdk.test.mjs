/**
 * Google's web SDK, as it runs on Node.js: it writes over the Write stream, and reads most things over Listen.
 */

import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {test} from 'node:test';

import {deleteApp, initializeApp} from '@firebase/app';
import {
  addDoc,
  arrayUnion,
  average,
  collection,
  connectFirestoreEmulator,
  count,
  deleteDoc,
  disableNetwork,
  doc,
  enableNetwork,
  getAggregateFromServer,
  getDocFromServer,
  getDocsFromServer,
  getFirestore,
  increment,
  limit,
  onSnapshot,
  orderBy,
  query,
  runTransaction,
  serverTimestamp,
  setDoc,
  setLogLevel,
  sum,
  updateDoc,
  vector,
  waitForPendingWrites,
  where,
  writeBatch,
} from '@firebase/firestore';

import {useEmulator} from './emulator.mjs';

const emulator = useEmulator();

setLogLevel('error');

/** A client of a database until the test ends; of an empty one unless a project says otherwise. */
function connect(t, projectId = `web-${randomUUID().slice(0, 8)}`) {
  const app = initializeApp({projectId}, randomUUID());
  const db = getFirestore(app);
  const [host, port] = emulator.address.split(':');
  connectFirestoreEmulator(db, host, Number(port));
  t.after(() => deleteApp(app));
  return db;
}

/** Listen to a query until the test ends: `until(expected)` waits for a snapshot from the server with these IDs. */
function listen(t, target) {
  let latest;
  let look = () => {};
  const stop = onSnapshot(
    target,
    {includeMetadataChanges: true},
    snapshot => {
      latest = snapshot;
      look();
    },
    () => {}, // the app ends first
  );
  t.after(stop);
  const shown = () =>
    latest && !latest.metadata.fromCache && !latest.metadata.hasPendingWrites
      ? latest.docs.map(one => one.id).join('')
      : undefined;
  return async expected => {
    while (shown() !== expected) await new Promise(resolve => (look = resolve));
  };
}

test('documents are written and read', async t => {
  const ref = doc(connect(t), 'a/1');
  assert.equal((await getDocFromServer(ref)).exists(), false);
  await setDoc(ref, {n: increment(2), list: arrayUnion(1, 2), at: serverTimestamp(), v: vector([1, 2])});
  await updateDoc(ref, {'m.x': 1, n: increment(1)});
  const data = (await getDocFromServer(ref)).data();
  assert.deepEqual([data.n, data.list, data.m, data.v.toArray()], [3, [1, 2], {x: 1}, [1, 2]]);
  assert.ok(data.at.seconds > 0);
  await deleteDoc(ref);
  assert.equal((await getDocFromServer(ref)).exists(), false);
});

test('a write that fails is rolled back, and the next one is done', async t => {
  const db = connect(t);
  await assert.rejects(updateDoc(doc(db, 'a/none'), {x: 1}), {code: 'not-found'});
  const {id} = await addDoc(collection(db, 'a'), {x: 1});
  assert.deepEqual((await getDocsFromServer(collection(db, 'a'))).docs.map(one => one.id), [id]);
});

test('a batch is written at once', async t => {
  const db = connect(t);
  await setDoc(doc(db, 'a/gone'), {});
  await writeBatch(db).set(doc(db, 'a/1'), {x: 1}).update(doc(db, 'a/1'), {y: 2}).delete(doc(db, 'a/gone')).commit();
  const found = await getDocsFromServer(collection(db, 'a'));
  assert.deepEqual(found.docs.map(one => one.data()), [{x: 1, y: 2}]);
});

test('queries and aggregations are answered', async t => {
  const cells = collection(connect(t), 'cells');
  await Promise.all([1, 2, 3].map(n => setDoc(doc(cells, `${n}`), {n})));
  const found = await getDocsFromServer(query(cells, where('n', '>', 1), orderBy('n', 'desc')));
  assert.deepEqual(found.docs.map(one => one.id), ['3', '2']);
  const numbers = await getAggregateFromServer(cells, {n: count(), sum: sum('n'), mean: average('n')});
  assert.deepEqual(numbers.data(), {n: 3, sum: 6, mean: 2});
});

test('transactions on one document all succeed', async t => {
  const db = connect(t);
  const ref = doc(db, 'a/1');
  await setDoc(ref, {n: 0});
  const step = () =>
    runTransaction(
      db,
      async transaction => transaction.update(ref, {n: (await transaction.get(ref)).get('n') + 1}),
      {maxAttempts: 20},
    );
  await Promise.all(Array.from({length: 5}, step));
  assert.equal((await getDocFromServer(ref)).get('n'), 5);
});

test('a limit moves with what another client writes', async t => {
  const project = `web-${randomUUID().slice(0, 8)}`;
  const mine = collection(connect(t, project), 'cells');
  const others = collection(connect(t, project), 'cells');
  const until = listen(t, query(mine, orderBy('n'), limit(2)));
  await until('');
  for (const n of [1, 2, 3]) await setDoc(doc(others, `${n}`), {n});
  await until('12');
  await deleteDoc(doc(others, '1'));
  await until('23');
  await setDoc(doc(others, '0'), {n: 0});
  await until('02');
});

test('a client that was away learns what came, what changed and what went, and sends what it wrote', async t => {
  const project = `web-${randomUUID().slice(0, 8)}`;
  const db = connect(t, project);
  const mine = collection(db, 'cells');
  const others = collection(connect(t, project), 'cells');
  await Promise.all([1, 2].map(n => setDoc(doc(others, `${n}`), {n})));
  const until = listen(t, query(mine, where('n', '>', 0)));
  await until('12');
  await disableNetwork(db);
  await setDoc(doc(others, '3'), {n: 3});
  await deleteDoc(doc(others, '1'));
  const written = setDoc(doc(mine, '4'), {n: 4});
  await enableNetwork(db);
  await written;
  await waitForPendingWrites(db);
  await until('234');
  assert.deepEqual((await getDocsFromServer(others)).docs.map(one => one.id), ['2', '3', '4']);
});
