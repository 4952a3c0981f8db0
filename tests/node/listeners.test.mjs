import assert from 'node:assert/strict';
import {test} from 'node:test';

import {fill, useEmulator} from './emulator.mjs';

const emulator = useEmulator();

/** Listen until the test ends, or until `stop()`: `next()` gives each snapshot in turn. */
function listen(t, target) {
  const waiting = [];
  const arrived = [];
  const put = outcome => (waiting.length ? waiting.shift()(outcome) : arrived.push(outcome));
  const stop = target.onSnapshot(
    snapshot => put(Promise.resolve(snapshot)),
    error => put(Promise.reject(error)),
  );
  t.after(stop);
  return {
    stop,
    next: () => (arrived.length ? arrived.shift() : new Promise(resolve => waiting.push(resolve))),
    get pending() {
      return arrived.length;
    },
  };
}

const change = ({type, doc, oldIndex, newIndex}) => `${type} ${doc.id} ${oldIndex} ${newIndex}`;

const shape = snapshot => ({
  docs: snapshot.docs.map(one => one.id).join(''),
  changes: snapshot.docChanges().map(change),
});

test('a listener sees a document come, change and go', async t => {
  const ref = emulator.database().doc('a/1');
  const listener = listen(t, ref);
  assert.equal((await listener.next()).exists, false);
  await ref.set({x: 1});
  const first = await listener.next();
  assert.deepEqual(first.data(), {x: 1});
  await ref.set({x: 2});
  const second = await listener.next();
  assert.deepEqual(second.data(), {x: 2});
  assert.ok(second.createTime.isEqual(first.createTime));
  assert.ok(second.updateTime > first.updateTime);
  assert.ok(second.readTime > first.readTime);
  await ref.delete();
  assert.equal((await listener.next()).exists, false);
  await ref.set({x: 3});
  assert.deepEqual((await listener.next()).data(), {x: 3});
});

test('two listeners on one document see the same', async t => {
  const ref = emulator.database().doc('a/1');
  const listeners = [listen(t, ref), listen(t, ref)];
  for (const one of listeners) assert.equal((await one.next()).exists, false);
  await ref.set({x: 1});
  for (const one of listeners) assert.equal((await one.next()).get('x'), 1);
  listeners[0].stop();
  await ref.set({x: 2});
  assert.equal((await listeners[1].next()).get('x'), 2);
  assert.equal(listeners[0].pending, 0);
});

test('a listener sees what enters, changes in, moves in and leaves a query', async t => {
  const db = emulator.database();
  const cells = await fill(db.collection('cells'), {b: {n: 2}, z: {n: -1}});
  const listener = listen(t, cells.where('n', '>', 0).orderBy('n'));
  assert.deepEqual(shape(await listener.next()), {docs: 'b', changes: ['added b -1 0']});
  await cells.doc('a').set({n: 1});
  assert.deepEqual(shape(await listener.next()), {docs: 'ab', changes: ['added a -1 0']});
  await cells.doc('x').set({n: 0}); // not in the query: nobody hears of it
  await cells.doc('a').update({n: 3});
  assert.deepEqual(shape(await listener.next()), {docs: 'ba', changes: ['modified a 0 1']});
  await cells.doc('b').update({other: 1});
  assert.deepEqual(shape(await listener.next()), {docs: 'ba', changes: ['modified b 0 0']});
  await cells.doc('b').update({n: 0});
  assert.deepEqual(shape(await listener.next()), {docs: 'a', changes: ['removed b 0 -1']});
  await cells.doc('a').delete();
  assert.deepEqual(shape(await listener.next()), {docs: '', changes: ['removed a 0 -1']});
  await cells.doc('z').update({n: 9});
  assert.deepEqual(shape(await listener.next()), {docs: 'z', changes: ['added z -1 0']});
});

test('a listener on an empty query is told so', async t => {
  const listener = listen(t, emulator.database().collection('none'));
  const snapshot = await listener.next();
  assert.ok(snapshot.empty);
  assert.ok(snapshot.readTime.seconds > 0);
});

test('a batch arrives as one snapshot', async t => {
  const db = emulator.database();
  const listener = listen(t, db.collection('cells'));
  await listener.next();
  await fill(db.collection('cells'), {1: {}, 2: {}, 3: {}});
  assert.deepEqual(shape(await listener.next()).docs, '123');
});

test('a limit lets the next one in when one leaves', async t => {
  const db = emulator.database();
  const cells = await fill(db.collection('cells'), {1: {n: 1}, 2: {n: 2}, 3: {n: 3}});
  const listener = listen(t, cells.orderBy('n').limit(2));
  assert.equal(shape(await listener.next()).docs, '12');
  await cells.doc('1').delete();
  assert.deepEqual(shape(await listener.next()), {docs: '23', changes: ['removed 1 0 -1', 'added 3 -1 1']});
  await cells.doc('0').set({n: 0});
  assert.deepEqual(shape(await listener.next()), {docs: '02', changes: ['removed 3 1 -1', 'added 0 -1 0']});
});

test('limitToLast keeps its order', async t => {
  const db = emulator.database();
  const cells = await fill(db.collection('cells'), {1: {n: 1}, 2: {n: 2}, 3: {n: 3}});
  const listener = listen(t, cells.orderBy('n').limitToLast(2));
  assert.deepEqual(shape(await listener.next()), {docs: '23', changes: ['added 2 -1 0', 'added 3 -1 1']});
  await cells.doc('4').set({n: 4});
  assert.equal(shape(await listener.next()).docs, '34');
});

test('a listener on a collection group sees changes in all its collections', async t => {
  const db = emulator.database();
  const listener = listen(t, db.collectionGroup('cells'));
  await listener.next();
  await db.doc('a/1/cells/2').set({});
  assert.equal(shape(await listener.next()).docs, '2');
  await db.doc('cells/1').set({});
  assert.equal(shape(await listener.next()).docs, '21');
});

test('a listener cannot select fields', async t => {
  const listener = listen(t, emulator.database().collection('cells').select('x'));
  await assert.rejects(listener.next(), /Error 3: 'select' clauses are not supported for real-time queries/);
});

test('a listener sees the commits of transactions and of other clients', async t => {
  const projectId = 'shared-by-two';
  const [one, other] = [emulator.database({projectId}), emulator.database({projectId})];
  const listener = listen(t, one.collection('cells'));
  await listener.next();
  await other.runTransaction(async transaction => transaction.set(other.doc('cells/1'), {x: 1}));
  assert.equal(shape(await listener.next()).docs, '1');
});

test('many changes arrive, the last one last', async t => {
  const ref = emulator.database().doc('a/1');
  const listener = listen(t, ref);
  await listener.next();
  for (let n = 1; n <= 50; n++) await ref.set({n});
  let seen = 0;
  while (seen < 50) {
    const n = (await listener.next()).get('n');
    assert.ok(n > seen);
    seen = n;
  }
});

test('many listeners of one client go over as many streams', async t => {
  const db = emulator.database();
  const listeners = Array.from({length: 20}, (_, n) => listen(t, db.doc(`a/${n}`)));
  await Promise.all(listeners.map(one => one.next()));
  await Promise.all(listeners.map((_, n) => db.doc(`a/${n}`).set({n})));
  const seen = await Promise.all(listeners.map(one => one.next()));
  assert.deepEqual(seen.map(one => one.get('n')), [...listeners.keys()]);
});

test('a listener on a malformed query fails', async t => {
  const listener = listen(t, emulator.database().collection('a').where('x', 'in', Array(31).fill(0)));
  await assert.rejects(listener.next(), /Error 3: /); // the client has no code for what ends a target
});
