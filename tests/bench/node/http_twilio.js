// SPDX-License-Identifier: MIT
// The simplest handler of today: Node's http module and the twilio package's validator, nothing durable.
'use strict';
const http = require('http');
const querystring = require('querystring');
const twilio = require('twilio');

const token = process.env.TWILIO_AUTH_TOKEN;
const url = process.env.PUBLIC_URL + '/api/twilio/recording';

const server = http.createServer((req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const params = querystring.parse(Buffer.concat(chunks).toString('utf8'));
    const valid = twilio.validateRequest(token, req.headers['x-twilio-signature'] || '', url, params);
    res.writeHead(valid ? 200 : 403, { 'content-type': 'application/json' });
    res.end(valid ? '{"success":true,"message":"Recording accepted"}' : '{"error":"Invalid request signature"}');
  });
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.env.PORT), '127.0.0.1');
