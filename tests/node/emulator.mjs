/**
 * An emulator to test against, and Google's client on an empty database of it.
 *
 * Each test file starts a process of its own, unless FIRESTORE_EMULATOR_HOST names an emulator that is up already.
 */

import {spawn} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {once} from 'node:events';
import path from 'node:path';
import readline from 'node:readline';
import {after, before} from 'node:test';
import {fileURLToPath} from 'node:url';

import {Firestore} from '@google-cloud/firestore';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const GIVEN = process.env.FIRESTORE_EMULATOR_HOST;

// away from Google Cloud, the client's authentication would look for a metadata server, for seconds
process.env.METADATA_SERVER_DETECTION ??= 'none';

/**
 * Start an emulator for the tests around the call, and stop it behind them.
 *
 * @param {{concurrency?: 'pessimistic' | 'optimistic'}} options how transactions are kept apart
 * @returns {{address: string, database: (settings?: object) => Firestore}} where it listens, and what gives a client
 *   on an empty database
 */
export function useEmulator({concurrency = 'pessimistic'} = {}) {
  let address = GIVEN;
  let stop = async () => {};
  const clients = [];

  before(async () => {
    if (!GIVEN) {
      ({address, stop} = await start('FIRESTORE_EMULATOR_HOST', ['firestore', '--concurrency', concurrency]));
    }
  });

  after(async () => {
    try {
      await Promise.all(clients.map(client => client.terminate()));
    } finally {
      await stop();
    }
  });

  return {
    get address() {
      return address;
    },
    database(settings = {}) {
      process.env.FIRESTORE_EMULATOR_HOST = address;
      try {
        const client = new Firestore({projectId: `test-${randomUUID().slice(0, 8)}`, ...settings});
        clients.push(client);
        return client;
      } finally {
        if (!GIVEN) delete process.env.FIRESTORE_EMULATOR_HOST;
      }
    },
  };
}

/**
 * Start an emulator on a free port.
 *
 * @param {string} variable which environment variable its address is for
 * @param {string[]} command which emulator, and its options
 * @returns {Promise<{address: string, stop: () => Promise<void>}>} where it listens, and what stops it
 */
export async function start(variable, command) {
  const python = process.env.PYTHON ?? 'python3';
  const args = ['-P', '-m', 'emulator', ...command, '--port', '0'];
  const prefix = `export ${variable}=`;
  const emulator = spawn(python, [...args, '--control-stdio'], {
    // its standard input closes with this process, and it ends then, whatever happens to us
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      ...process.env,
      GRPC_VERBOSITY: 'NONE',
      PYTHONPATH: [ROOT, process.env.PYTHONPATH].filter(Boolean).join(path.delimiter),
    },
  });
  const ended = once(emulator, 'exit');
  const line = await Promise.race([
    once(readline.createInterface({input: emulator.stdout}), 'line').then(([text]) => text),
    ended.then(([code]) => `it ended with ${code}`),
  ]);
  if (!line.startsWith(prefix)) {
    emulator.kill();
    throw new Error(`the emulator (${python} ${args.join(' ')}) did not come up: ${line}`);
  }
  return {
    address: line.slice(prefix.length),
    async stop() {
      emulator.kill();
      await ended;
    },
  };
}

/** The gRPC status codes that the tests expect, by name. */
export const Code = {INVALID_ARGUMENT: 3, NOT_FOUND: 5, ALREADY_EXISTS: 6, FAILED_PRECONDITION: 9, ABORTED: 10};

/** What `assert.rejects` takes: an error with this code, and a message that matches. */
export function failure(code, message = /./) {
  return error => {
    if (error.code !== code || !message.test(error.message)) throw error;
    return true;
  };
}

/** Set documents: {id: fields} in a collection. */
export async function fill(collection, documents) {
  const batch = collection.firestore.batch();
  for (const [id, fields] of Object.entries(documents)) batch.set(collection.doc(id), fields);
  await batch.commit();
  return collection;
}

/** The IDs that a query finds, in order. */
export async function ids(query) {
  return (await query.get()).docs.map(document => document.id);
}
