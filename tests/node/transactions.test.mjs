import assert from 'node:assert/strict';
import {describe, test} from 'node:test';

import {Code, failure, fill, useEmulator} from './emulator.mjs';

for (const concurrency of ['pessimistic', 'optimistic']) {
  describe(`with ${concurrency} concurrency`, () => {
    const emulator = useEmulator({concurrency});

    test('a transaction reads documents and queries, and writes', async () => {
      const db = emulator.database();
      const cells = await fill(db.collection('cells'), {1: {n: 1}, 2: {n: 2}});
      const answer = await db.runTransaction(async transaction => {
        const one = await transaction.get(cells.doc('1'));
        const [two, three] = await transaction.getAll(cells.doc('2'), cells.doc('3'));
        const found = await transaction.get(cells.where('n', '>', 1));
        const counted = await transaction.get(cells.count());
        assert.equal(three.exists, false);
        transaction.create(cells.doc('4'), {n: one.get('n') + two.get('n')});
        transaction.update(cells.doc('1'), {n: found.size});
        transaction.set(cells.doc('3'), {n: counted.data().count});
        transaction.delete(cells.doc('2'));
        return 'done';
      });
      assert.equal(answer, 'done');
      const left = (await cells.get()).docs.map(one => [one.id, one.get('n')]);
      assert.deepEqual(left, [['1', 1], ['3', 2], ['4', 3]]);
    });

    test('a transaction whose function throws writes nothing and holds nothing', async () => {
      const db = emulator.database();
      const ref = db.doc('a/1');
      await assert.rejects(
        db.runTransaction(async transaction => {
          await transaction.get(ref);
          transaction.set(ref, {});
          throw new Error('on purpose');
        }),
        /on purpose/,
      );
      assert.equal((await ref.get()).exists, false);
      await ref.set({});
    });

    test('a transaction that cannot succeed is tried once', async () => {
      const db = emulator.database();
      let attempts = 0;
      await assert.rejects(
        db.runTransaction(async transaction => {
          attempts++;
          transaction.update(db.doc('a/1'), {x: 1});
        }),
        failure(Code.NOT_FOUND, /No document to update/),
      );
      assert.equal(attempts, 1);
    });

    test('of two transactions that read and write one document, one is tried again', async () => {
      const db = emulator.database();
      const ref = db.doc('a/1');
      let attempts = 0;
      let bothHaveRead;
      const together = new Promise(resolve => (bothHaveRead = resolve));
      const merge = field =>
        db.runTransaction(async transaction => {
          await transaction.get(ref);
          if (++attempts === 2) bothHaveRead();
          await together;
          transaction.set(ref, {[field]: true}, {merge: true});
        });
      await Promise.all([merge('first'), merge('second')]);
      assert.equal(attempts, 3);
      assert.deepEqual((await ref.get()).data(), {first: true, second: true});
    });

    test('many transactions on one document all succeed', async () => {
      const db = emulator.database();
      const ref = db.doc('a/1');
      await ref.set({n: 0});
      const increment = () =>
        db.runTransaction(
          async transaction => transaction.update(ref, {n: (await transaction.get(ref)).get('n') + 1}),
          {maxAttempts: 20},
        );
      await Promise.all(Array.from({length: 10}, increment));
      assert.equal((await ref.get()).get('n'), 10);
    });

    test('a transaction sees no document that enters its query meanwhile', async () => {
      const db = emulator.database();
      const seats = db.collection('seats');
      const take = id =>
        db.runTransaction(async transaction => {
          const taken = await transaction.get(seats.where('taken', '==', true));
          if (taken.size < 1) transaction.set(seats.doc(id), {taken: true});
        });
      await Promise.all(['1', '2', '3'].map(take));
      assert.equal((await seats.get()).size, 1);
    });

    test('a read-only transaction reads one moment', async () => {
      const db = emulator.database();
      const ref = db.doc('a/1');
      await ref.set({n: 1});
      const seen = await db.runTransaction(
        async transaction => {
          const first = await transaction.get(ref);
          await ref.set({n: 2});
          const second = await transaction.get(ref);
          return [first.get('n'), second.get('n')];
        },
        {readOnly: true},
      );
      assert.deepEqual(seen, [1, 1]);
    });

    test('a read-only transaction reads the past', async () => {
      const db = emulator.database();
      const ref = db.doc('a/1');
      const {writeTime} = await ref.set({n: 1});
      await ref.set({n: 2});
      const options = {readOnly: true, readTime: writeTime};
      const then = await db.runTransaction(transaction => transaction.get(ref), options);
      assert.equal(then.get('n'), 1);
      const found = await db.runTransaction(
        transaction => transaction.get(db.collection('a').where('n', '==', 1)),
        options,
      );
      assert.equal(found.size, 1);
    });

    test('a read-only transaction does not write', async () => {
      const db = emulator.database();
      let attempts = 0;
      await assert.rejects(
        db.runTransaction(
          async transaction => {
            attempts++;
            transaction.set(db.doc('a/1'), {});
          },
          {readOnly: true},
        ),
        /read-only/i, // newer clients refuse it by themselves
      );
      assert.equal(attempts, 1);
    });
  });
}
