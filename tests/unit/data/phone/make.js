// SPDX-License-Identifier: MIT
// Prints vectors.tsv with its third column as the npm package "google-libphonenumber" has it today; what reeld does otherwise on
// purpose (the fourth column) stays. Run it here, where `npm install google-libphonenumber` was done.
const { readFileSync } = require('fs');
const { PhoneNumberFormat, PhoneNumberUtil } = require('google-libphonenumber');

const util = PhoneNumberUtil.getInstance();

function e164(country, text) {
  try {
    const number = util.parse(text, country || undefined);
    return util.isPossibleNumberWithReason(number) === PhoneNumberUtil.ValidationResult.IS_POSSIBLE ? util.format(number, PhoneNumberFormat.E164) : '-';
  } catch {
    return '-';
  }
}

for (const line of readFileSync('vectors.tsv', 'utf8').trimEnd().split('\n')) {
  const [country, text, , ours] = line.split('\t');
  if (line.startsWith('#')) console.log(line);
  else console.log([country, text, e164(country, text), ...(ours === undefined ? [] : [ours])].join('\t'));
}
