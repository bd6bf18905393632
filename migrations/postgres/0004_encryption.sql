-- SPDX-License-Identifier: MIT
-- Of a recording that Twilio encrypted: EncryptionDetails of its callback (or the same of the REST resource), JSON. What cannot be read is kept as it came.
ALTER TABLE recordings ADD COLUMN encryption text;
