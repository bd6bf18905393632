-- SPDX-License-Identifier: MIT
-- What a pending recording waits for besides time: the SID of a public key whose private key is not there, or of an account that Twilio refuses. Whoever learns that
-- it is there again finds what waited.
ALTER TABLE recordings ADD COLUMN waits_for TEXT;
CREATE INDEX recordings_waiting ON recordings (waits_for, next_attempt_at) WHERE waits_for IS NOT NULL;
