// SPDX-License-Identifier: MIT
// The whole job as it is written today with the usual packages: validate, filter in Redis, insert into Postgres, answer; then fetch the
// recording, stream it into S3 while hashing, and update the call. 64 at a time, like reeld.
'use strict';
const { createHash } = require('crypto');
const { Readable, PassThrough } = require('stream');
const { pipeline } = require('stream/promises');
const fastify = require('fastify')({ logger: false });
const { Pool } = require('pg');
const Redis = require('ioredis');
const twilio = require('twilio');
const { S3Client } = require('@aws-sdk/client-s3');
const { Upload } = require('@aws-sdk/lib-storage');

const env = process.env;
const url = env.PUBLIC_URL + '/api/twilio/recording';
const pool = new Pool({ connectionString: env.DATABASE_URL, max: 16 });
const redis = new Redis(env.REDIS_URL);
const s3 = new S3Client({ endpoint: env.S3_ENDPOINT, region: env.AWS_REGION, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
const authorization = 'Basic ' + Buffer.from(`${env.TWILIO_ACCOUNT_SID}:${env.TWILIO_AUTH_TOKEN}`).toString('base64');

const waiting = [];
let running = 0;

async function archive(body) {
  const media = `${env.TWILIO_API_BASE}/2010-04-01/Accounts/${body.AccountSid}/Recordings/${body.RecordingSid}.wav`;
  const response = await fetch(media, { headers: { authorization } });
  if (!response.ok || !String(response.headers.get('content-type')).startsWith('audio/')) throw new Error(`media: ${response.status}`);
  const key = `recordings/2022/04/20/${body.CallSid}/${body.RecordingSid}.wav`;
  const md5 = createHash('md5');
  const sha256 = createHash('sha256');
  let bytes = 0;
  const through = new PassThrough();
  through.on('data', (chunk) => { md5.update(chunk); sha256.update(chunk); bytes += chunk.length; });
  const upload = new Upload({ client: s3, params: { Bucket: env.S3_BUCKET, Key: key, Body: through, ContentType: 'audio/wav' } });
  await Promise.all([pipeline(Readable.fromWeb(response.body), through), upload.done()]);
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('UPDATE recordings SET status = $2, key = $3, bytes = $4, md5 = $5, sha256 = $6 WHERE recording_sid = $1',
      [body.RecordingSid, 'stored', key, bytes, md5.digest('hex'), sha256.digest('hex')]);
    await client.query('INSERT INTO calls (twilio_sid, recording_url) VALUES ($1, $2) ON CONFLICT (twilio_sid) DO UPDATE SET recording_url = $2',
      [body.CallSid, `${env.S3_ENDPOINT}/${env.S3_BUCKET}/${key}`]);
    await client.query('COMMIT');
  } finally {
    client.release();
  }
}

function next() {
  while (running < 64 && waiting.length > 0) {
    running++;
    archive(waiting.shift()).catch((error) => console.error(error.message)).finally(() => { running--; next(); });
  }
}

fastify.register(require('@fastify/formbody'));
fastify.post('/api/twilio/recording', async (request, reply) => {
  const body = request.body;
  if (!twilio.validateRequest(env.TWILIO_AUTH_TOKEN, request.headers['x-twilio-signature'] || '', url, body)) {
    return reply.code(403).send({ error: 'Invalid request signature' });
  }
  if (await redis.set(`bench:${body.RecordingSid}:${body.RecordingStatus}`, '1', 'EX', 86400, 'NX') === null) {
    return { success: true, message: 'Recording already processed' };
  }
  await pool.query('INSERT INTO recordings (recording_sid, call_sid, status) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [body.RecordingSid, body.CallSid, 'pending']);
  waiting.push(body);
  setImmediate(next);
  return { success: true, message: 'Recording accepted' };
});

pool.query('CREATE TABLE recordings (recording_sid text PRIMARY KEY, call_sid text, status text, key text, bytes bigint, md5 text, sha256 text, ' +
           'received_at timestamptz DEFAULT now()); CREATE TABLE calls (twilio_sid text PRIMARY KEY, recording_url text)')
  .then(() => fastify.listen({ port: Number(env.PORT), host: '127.0.0.1' }))
  .catch((error) => { console.error(error); process.exit(1); });
