// SPDX-License-Identifier: MIT
// Writes the TwiML that the npm package "twilio" makes of the verbs of test_twiml.c (as_the_twilio_package). Run it here, where
// `npm install twilio` was done; the files were made with twilio 6.2.0 (MIT License, https://github.com/twilio/twilio-node).
const { writeFileSync } = require('fs');
const { VoiceResponse } = require('twilio').twiml;

function write(name, fill) {
  const response = new VoiceResponse();
  fill(response);
  writeFileSync(`${name}.xml`, `${response}\n`);
}

write('empty', () => {});
write('say', (r) => r.say('Hello, World'));
write('say_escapes', (r) => r.say({ voice: 'Polly.Joanna-Neural', language: 'en-US' },
  '1 < 2 & 3 > 2 ]]> "q" \'a\' &amp; <Hangup/>\tz\u00fcrich \u20ac \u{1F4DE}\nnext line\r\nend'));
write('record', (r) => r.record({
  action: '/next?x=1&y=2', method: 'GET', timeout: 7, maxLength: 120, finishOnKey: '#*0', playBeep: false, trim: 'do-not-trim',
  recordingStatusCallback: 'https://example.com/cb?a=1&b=2', recordingStatusCallbackMethod: 'POST',
  recordingStatusCallbackEvent: ['in-progress', 'completed', 'absent'], transcribe: true, transcribeCallback: 'https://example.com/text',
}));
write('start_recording', (r) => r.start().recording({
  name: 'main "call" <1>', recordingStatusCallback: 'https://user:pw@example.com/cb?a=1&b=%20#rc=5&rp=all', recordingStatusCallbackMethod: 'POST',
  recordingStatusCallbackEvent: ['completed', 'absent'], channels: 'dual', track: 'both', trim: 'trim-silence',
}));
write('connect_stream', (r) => {
  const stream = r.connect().stream({ url: 'wss://media.example.com:8443/stream', track: 'inbound_track' });
  stream.parameter({ name: 'token', value: 'a&b<c>"d"\'e\'' });
  stream.parameter({ name: 'lines', value: 'tab\there\nnext\rback' });
  stream.parameter({ name: 'empty', value: '' });
});
write('greet_record_stream', (r) => {
  r.say('Welcome');
  r.start().recording({ recordingStatusCallback: '/cb' });
  r.connect().stream({ url: 'wss://example.com/s' });
});
