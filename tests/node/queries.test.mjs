import assert from 'node:assert/strict';
import {test} from 'node:test';

import {FieldPath, Filter, Timestamp} from '@google-cloud/firestore';

import {Code, failure, fill, ids, useEmulator} from './emulator.mjs';

const emulator = useEmulator();
const NAME = FieldPath.documentId();

async function zips() {
  return fill(emulator.database().collection('zips'), {
    a: {zip: NaN},
    b: {zip: 91102},
    c: {zip: 98101},
    d: {zip: 98103},
    e: {zip: [98101]},
    f: {zip: ['98101', {zip: 98101}]},
    g: {zip: {zip: 98101}},
    h: {zip: null},
    i: {other: 1},
  });
}

test('equality compares numbers by value', async () => {
  const cells = await fill(emulator.database().collection('cells'), {
    int: {n: 1},
    double: {n: 1.5},
    text: {n: '1'},
    zero: {n: 0},
    minus: {n: -0},
  });
  assert.deepEqual(await ids(cells.where('n', '==', 1)), ['int']);
  assert.deepEqual(await ids(cells.where('n', '==', 0)), ['minus', 'zero']);
  assert.deepEqual(await ids(cells.where('n', '==', '1')), ['text']);
});

test('inequalities compare values of one type', async () => {
  const cells = await zips();
  assert.deepEqual(await ids(cells.where('zip', '<', 98103)), ['b', 'c']);
  assert.deepEqual(await ids(cells.where('zip', '<=', 98103)), ['b', 'c', 'd']);
  assert.deepEqual(await ids(cells.where('zip', '>', 98101)), ['d']);
  assert.deepEqual(await ids(cells.where('zip', '>=', 98101)), ['c', 'd']);
  assert.deepEqual(await ids(cells.where('zip', '>', [])), ['e', 'f']);
});

test('null and NaN are found by equality', async () => {
  const cells = await zips();
  assert.deepEqual(await ids(cells.where('zip', '==', null)), ['h']);
  assert.deepEqual(await ids(cells.where('zip', '==', NaN)), ['a']);
});

test('!= finds all that have another value, but no null', async () => {
  const cells = await zips();
  assert.deepEqual(await ids(cells.where('zip', '!=', 98101)), ['a', 'b', 'd', 'e', 'f', 'g']);
  assert.deepEqual(await ids(cells.where('zip', '!=', NaN)), ['b', 'c', 'd', 'e', 'f', 'g']);
  assert.deepEqual(await ids(cells.where('zip', '!=', null)), ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
});

test('in and not-in compare with each of a list', async () => {
  const cells = await zips();
  assert.deepEqual(await ids(cells.where('zip', 'in', [98101, 98103, [98101]])), ['c', 'd', 'e']);
  assert.deepEqual(await ids(cells.where('zip', 'not-in', [98101, 98103])), ['a', 'b', 'e', 'f', 'g']);
  assert.deepEqual(await ids(cells.where('zip', 'not-in', [NaN])), ['b', 'c', 'd', 'e', 'f', 'g']);
  assert.deepEqual(await ids(cells.where('zip', 'not-in', [null])), []);
});

test('a list is searched for one element, or any of several', async () => {
  const cells = await fill(emulator.database().collection('cells'), {
    a: {list: [42]},
    b: {list: ['a', 42, 'c']},
    c: {list: [41.999, '42', {a: [42]}]},
    d: {list: [43]},
    e: {list: [{a: 42}]},
    f: {list: 42},
  });
  assert.deepEqual(await ids(cells.where('list', 'array-contains', 42)), ['a', 'b']);
  assert.deepEqual(await ids(cells.where('list', 'array-contains', {a: 42})), ['e']);
  assert.deepEqual(await ids(cells.where('list', 'array-contains-any', [42, 43])), ['a', 'b', 'd']);
});

test('document IDs are compared', async () => {
  const cells = await fill(emulator.database().collection('cells'), {a: {}, b: {}, c: {}});
  assert.deepEqual(await ids(cells.where(NAME, '==', 'b')), ['b']);
  assert.deepEqual(await ids(cells.where(NAME, '!=', 'b')), ['a', 'c']);
  assert.deepEqual(await ids(cells.where(NAME, '>=', 'b')), ['b', 'c']);
  assert.deepEqual(await ids(cells.where(NAME, 'in', ['a', cells.doc('c')])), ['a', 'c']);
  assert.deepEqual(await ids(cells.where(NAME, 'not-in', ['a', cells.doc('c')])), ['b']);
  assert.deepEqual(await ids(cells.orderBy(NAME, 'desc')), ['c', 'b', 'a']);
});

test('filters are joined by and, and by or', async () => {
  const cells = await fill(emulator.database().collection('cells'), {
    1: {a: 1, b: 0},
    2: {a: 2, b: 1},
    3: {a: 3, b: 2},
    4: {a: 1, b: 3},
    5: {a: 1, b: 1},
    6: {b: 1},
    7: {a: 1},
  });
  const is = (field, value) => Filter.where(field, '==', value);
  const {and, or} = Filter;
  assert.deepEqual(await ids(cells.where('a', '==', 1).where('b', '>', 0)), ['5', '4']);
  assert.deepEqual(await ids(cells.where(or(is('a', 1), is('b', 1)))), ['1', '2', '4', '5', '6', '7']);
  assert.deepEqual(await ids(cells.where(or(is('a', 1), is('b', 1))).orderBy('b')), ['1', '2', '5', '6', '4']);
  assert.deepEqual(await ids(cells.where(and(is('a', 1), or(is('b', 0), is('b', 3))))), ['1', '4']);
  assert.deepEqual(await ids(cells.where(and(or(is('a', 2), is('b', 2)), or(is('a', 3), is('b', 3))))), ['3']);
  assert.deepEqual(await ids(cells.where(or(Filter.where('a', '>', 2), is('b', 1)))), ['5', '2', '3']);
  assert.deepEqual(await ids(cells.where(or(is('a', 2), is('b', 1))).limit(1).orderBy('a', 'desc')), ['2']);
  assert.deepEqual(await ids(cells.where(or(is('a', 2), Filter.where('b', 'in', [2, 3])))), ['2', '3', '4']);
});

test('several fields are compared by inequalities, and order the results', async () => {
  const cells = await fill(emulator.database().collection('cells'), {
    1: {key: 'a', sort: 0, v: 5},
    2: {key: 'aa', sort: 4, v: 4},
    3: {key: 'c', sort: 3, v: 3},
    4: {key: 'b', sort: 2, v: 2},
    5: {key: 'b', sort: 2, v: 1},
    6: {key: 'b', sort: 0, v: 0},
  });
  assert.deepEqual(await ids(cells.where('key', '!=', 'a').where('sort', '<=', 3)), ['6', '4', '5', '3']);
  assert.deepEqual(await ids(cells.where('v', '>', 1).where('sort', '>', 0).orderBy('v', 'desc')), ['2', '3', '4']);
  const nested = Filter.or(
    Filter.and(Filter.where('key', '==', 'b'), Filter.where('sort', '<=', 2)),
    Filter.and(Filter.where('key', '!=', 'b'), Filter.where('v', '>', 4)),
  );
  assert.deepEqual(await ids(cells.where(nested)), ['1', '6', '5', '4']);
  // the client works out the same implicit orders for a cursor
  assert.deepEqual(await ids(cells.where(nested).startAfter(await cells.doc('6').get())), ['5', '4']);
  const ordered = cells.where(nested).orderBy('sort', 'desc').orderBy('key');
  assert.deepEqual(await ids(ordered), ['5', '4', '1', '6']);
  assert.deepEqual(await ids(ordered.startAt(await cells.doc('1').get())), ['1', '6']);
});

test('nested and quoted fields are compared', async () => {
  const cells = await fill(emulator.database().collection('cells'), {
    1: {meta: {at: 1}, 'a.b': 1, 'back\\slash': 1},
    2: {meta: {at: 2}, 'a.b': 2, 'back\\slash': 2},
  });
  assert.deepEqual(await ids(cells.where('meta.at', '>', 1)), ['2']);
  assert.deepEqual(await ids(cells.where(new FieldPath('a.b'), '==', 1)), ['1']);
  assert.deepEqual(await ids(cells.orderBy('back\\slash', 'desc')), ['2', '1']);
  assert.deepEqual(await ids(cells.where('meta', '==', {at: 2})), ['2']);
});

test('only documents that have the field are ordered by it', async () => {
  const cells = await fill(emulator.database().collection('cells'), {1: {a: 2}, 2: {b: 1}, 3: {a: 1, b: 2}});
  assert.deepEqual(await ids(cells.orderBy('a')), ['3', '1']);
  assert.deepEqual(await ids(cells.orderBy('a').orderBy('b', 'desc')), ['3']);
});

test('cursors begin and end a range', async () => {
  const cells = await fill(
    emulator.database().collection('cells'),
    Object.fromEntries(Array.from({length: 8}, (_, n) => [`${n}`, {n, half: n >> 1}])),
  );
  const up = cells.orderBy('n');
  const down = cells.orderBy('n', 'desc');
  for (const [query, expected] of [
    [up.startAt(6), '67'],
    [up.startAfter(6), '7'],
    [up.endAt(1), '01'],
    [up.endBefore(1), '0'],
    [up.startAt(2).endBefore(5), '234'],
    [down.startAfter(6).endAt(4), '54'],
    [up.limit(2), '01'],
    [up.offset(6), '67'],
    [up.offset(2).limit(2), '23'],
    [up.offset(9), ''],
    [up.limitToLast(2), '67'],
    [up.startAt(2).endAt(4).limitToLast(5), '234'],
    [up.startAfter(2).endBefore(6).limitToLast(2), '45'],
    [down.startAt(6).endAt(2).limitToLast(2), '32'],
    [down.startAfter(6).endBefore(2).limitToLast(2), '43'],
    [cells.orderBy('half').orderBy('n', 'desc').startAfter(1, 3).limit(3), '254'],
    [cells.orderBy('half', 'desc').startAt(1), '3210'],
    [cells.orderBy(NAME).startAt('6'), '67'],
    [cells.startAt(await cells.doc('6').get()), '67'],
    [cells.where('half', '==', 2).startAfter(await cells.doc('4').get()), '5'],
    [cells.where('n', '>=', 3).endBefore(await cells.doc('5').get()), '34'],
  ]) {
    assert.deepEqual((await ids(query)).join(''), expected);
  }
});

test('pages follow each other by their last document', async () => {
  const cells = await fill(
    emulator.database().collection('cells'),
    Object.fromEntries(Array.from({length: 10}, (_, n) => [`${n}`, {same: 1, list: ['x']}])),
  );
  for (const query of [cells.orderBy('same'), cells.where('list', 'array-contains', 'x'), cells]) {
    let page = await query.limit(4).get();
    const seen = [];
    while (!page.empty) {
      seen.push(...page.docs.map(one => one.id));
      page = await query.limit(4).startAfter(page.docs.at(-1)).get();
    }
    assert.equal(seen.join(''), '0123456789');
  }
});

test('selected fields come alone', async () => {
  const cells = await fill(emulator.database().collection('cells'), {1: {a: {b: 1, c: 2}, d: 3}});
  assert.deepEqual((await cells.select('a.b', 'none').get()).docs[0].data(), {a: {b: 1}});
  const [nothing] = (await cells.select().get()).docs;
  assert.deepEqual(nothing.data(), {});
  assert.equal(nothing.id, '1');
});

test('a collection group has the collections of its ID, wherever they lie', async () => {
  const db = emulator.database();
  const batch = db.batch();
  for (const path of [
    'a/a/group/1',
    'a/b/a/b/group/2',
    'a/b/c/d/group/3',
    'a/b/group/4',
    'a/c/group/5',
    'group/6',
    'group/virtual/nested/not',
    'xgroup/not',
    'a/b/groupx/not',
    'a/group',
  ]) {
    batch.set(db.doc(path), {x: 1});
  }
  await batch.commit();
  const group = db.collectionGroup('group');
  assert.equal((await ids(group)).join(''), '123456');
  assert.equal((await ids(group.where('x', '==', 1))).join(''), '123456');
  assert.equal((await ids(group.orderBy(NAME).startAt('a/b').endAt('a/b0'))).join(''), '234');
  assert.equal((await ids(group.orderBy(NAME).startAfter('a/b').endBefore('a/b/group/4'))).join(''), '23');
  assert.equal((await ids(group.where(NAME, '>', 'a/b').where(NAME, '<=', 'a/b/c/d/group/3'))).join(''), '23');
});

test('results are streamed', async () => {
  const cells = await fill(emulator.database().collection('cells'), {1: {n: 1}, 2: {n: 2}, 3: {n: 3}});
  const seen = [];
  for await (const document of cells.where('n', '>', 1).stream()) seen.push(document.id);
  assert.deepEqual(seen, ['2', '3']);
  for await (const document of cells.where('n', '>', 9).stream()) assert.fail(document.id);
});

test('an empty result has a read time', async () => {
  const found = await emulator.database().collection('none').get();
  assert.ok(found.empty);
  assert.ok(found.readTime.seconds > 0);
});

test('many documents come at once', async () => {
  const db = emulator.database();
  const writer = db.bulkWriter({throttling: false});
  const text = 'x'.repeat(1_000);
  for (let n = 0; n < 2_000; n++) writer.set(db.doc(`a/${n}`), {n, text});
  await writer.close();
  assert.equal((await db.collection('a').get()).size, 2_000);
});

test('timestamps are found by what was written', async () => {
  const at = new Timestamp(1, 123_456_789);
  const cells = await fill(emulator.database().collection('cells'), {1: {at}});
  assert.deepEqual(await ids(cells.where('at', '==', at)), ['1']);
});

test('malformed queries are invalid arguments, at once', async () => {
  const cells = emulator.database().collection('cells');
  const began = Date.now();
  await assert.rejects(cells.where('a', 'in', Array(31).fill(0)).get(), failure(Code.INVALID_ARGUMENT));
  await assert.rejects(cells.where('a', 'not-in', Array(11).fill(0)).get(), failure(Code.INVALID_ARGUMENT));
  await assert.rejects(cells.orderBy('a').orderBy('a').get(), failure(Code.INVALID_ARGUMENT));
  // one that came without headers would be asked again, after 1, 2 and 4 seconds
  assert.ok(Date.now() - began < 5_000);
});
