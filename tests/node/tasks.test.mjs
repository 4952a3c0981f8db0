/** Queues and tasks of Google's client, and the requests that a worker gets. */

import assert from 'node:assert/strict';
import {once} from 'node:events';
import http from 'node:http';
import {after, before, test} from 'node:test';

import {CloudTasksClient} from '@google-cloud/tasks';
import {grpc} from 'google-gax';

import {start} from './emulator.mjs';

const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;

const requests = [];
const worker = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  requests.push({method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(chunks)});
  response.writeHead(request.url === '/fails-once' && requests.length < 2 ? 404 : 200).end();
  worker.emit('answered');
});
let client;
let stop;
let base;
let queues = 0;

before(async () => {
  worker.listen(0, '127.0.0.1');
  await once(worker, 'listening');
  base = `http://127.0.0.1:${worker.address().port}`;
  const emulator = await start('CLOUD_TASKS_EMULATOR_HOST', ['tasks', '--certs-port', '0']);
  stop = emulator.stop;
  const [servicePath, port] = emulator.address.split(':');
  client = new CloudTasksClient({servicePath, port: Number(port), sslCreds: grpc.credentials.createInsecure()});
});

after(async () => {
  await client?.close();
  worker.close();
  worker.closeAllConnections();
  await stop?.();
});

async function newQueue(settings = {}) {
  requests.length = 0;
  const parent = client.locationPath('demo', 'local');
  const [queue] = await client.createQueue({parent, queue: {name: `${parent}/queues/q-${queues++}`, ...settings}});
  return queue.name;
}

async function answered(count) {
  while (requests.length < count) await once(worker, 'answered');
}

test('a task is delivered with its method, headers, body and token', async () => {
  const parent = await newQueue();
  const name = `${parent}/tasks/t-1`;
  const [task] = await client.createTask({
    parent,
    task: {
      name,
      httpRequest: {
        httpMethod: 'PUT',
        url: `${base}/work?a=b`,
        headers: {'content-type': 'application/json'},
        body: Buffer.from('{}'),
        oidcToken: {serviceAccountEmail: 'a@demo.iam.gserviceaccount.com', audience: 'https://worker.example'},
      },
    },
  });
  assert.equal(task.name, name);
  await answered(1);
  const [{method, url, headers, body}] = requests;
  assert.deepEqual([method, url, body.toString()], ['PUT', '/work?a=b', '{}']);
  assert.equal(headers['user-agent'], 'Google-Cloud-Tasks');
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['x-cloudtasks-taskname'], 't-1');
  assert.equal(headers['x-cloudtasks-taskretrycount'], '0');
  const claims = JSON.parse(Buffer.from(headers.authorization.split('.')[1], 'base64url'));
  assert.equal(claims.aud, 'https://worker.example');
});

test('a task that fails is tried again', async () => {
  const parent = await newQueue({retryConfig: {minBackoff: {nanos: 1e8}, maxAttempts: 3}});
  await client.createTask({parent, task: {httpRequest: {url: `${base}/fails-once`}}});
  await answered(2);
  assert.equal(requests[1].headers['x-cloudtasks-taskretrycount'], '1');
  assert.equal(requests[1].headers['x-cloudtasks-taskpreviousresponse'], '404');
});

test('a paused queue keeps its tasks until it is resumed', async () => {
  const name = await newQueue();
  const [paused] = await client.pauseQueue({name});
  assert.equal(paused.state, 'PAUSED');
  for (const id of ['a', 'b']) {
    await client.createTask({parent: name, task: {name: `${name}/tasks/${id}`, httpRequest: {url: base}}});
  }
  const [tasks] = await client.listTasks({parent: name});
  assert.deepEqual(tasks.map(task => task.name.split('/').at(-1)).sort(), ['a', 'b']);
  assert.equal(requests.length, 0);
  await client.resumeQueue({name});
  await answered(2);
});

test('names are taken, and what is not there is not found', async () => {
  const parent = await newQueue();
  const task = {name: `${parent}/tasks/t`, httpRequest: {url: base}, scheduleTime: {seconds: Date.now() / 1000 + 600}};
  await client.createTask({parent, task});
  await assert.rejects(client.createTask({parent, task}), {code: ALREADY_EXISTS});
  await client.deleteTask({name: task.name});
  await assert.rejects(client.createTask({parent, task}), {code: ALREADY_EXISTS});
  await assert.rejects(client.getTask({name: task.name}), {code: NOT_FOUND});
  await assert.rejects(client.getQueue({name: `${parent}-none`}), {code: NOT_FOUND});
});
