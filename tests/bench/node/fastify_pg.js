// SPDX-License-Identifier: MIT
// The durable handler of today: fastify, the twilio package's validator, one INSERT into Postgres before the answer.
'use strict';
const fastify = require('fastify')({ logger: false });
const { Pool } = require('pg');
const twilio = require('twilio');

const token = process.env.TWILIO_AUTH_TOKEN;
const url = process.env.PUBLIC_URL + '/api/twilio/recording';
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 16 });

fastify.register(require('@fastify/formbody'));
fastify.post('/api/twilio/recording', async (request, reply) => {
  const valid = twilio.validateRequest(token, request.headers['x-twilio-signature'] || '', url, request.body);
  if (!valid) return reply.code(403).send({ error: 'Invalid request signature' });
  const body = request.body;
  await pool.query(
    'INSERT INTO events (recording_sid, call_sid, status, body) VALUES ($1, $2, $3, $4) ON CONFLICT (recording_sid, status) DO NOTHING',
    [body.RecordingSid, body.CallSid, body.RecordingStatus, JSON.stringify(body)]);
  return { success: true, message: 'Recording accepted' };
});

pool.query('CREATE TABLE IF NOT EXISTS events (recording_sid text, call_sid text, status text, body jsonb, ' +
           'received_at timestamptz DEFAULT now(), PRIMARY KEY (recording_sid, status))')
  .then(() => fastify.listen({ port: Number(process.env.PORT), host: '127.0.0.1' }))
  .catch((error) => { console.error(error); process.exit(1); });
