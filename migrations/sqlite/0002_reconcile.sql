-- SPDX-License-Identifier: MIT
-- Comparing with Twilio's list of recordings: one row with the lease of who walks it, and how far a walk came that is not finished.

CREATE TABLE reconcile (
	id               INTEGER PRIMARY KEY CHECK (id = 1),
	lease_owner      TEXT, -- NULL: nobody walks
	lease_epoch      INTEGER NOT NULL DEFAULT 0,
	lease_expires_at INTEGER,
	finished_at      INTEGER -- when a scheduled walk last came to its end
);
INSERT INTO reconcile (id) VALUES (1);

CREATE TABLE reconcile_progress (
	kind        TEXT NOT NULL CHECK (kind = 'scheduled' OR kind = 'requested'),
	account_sid TEXT NOT NULL,
	walked_from INTEGER NOT NULL, -- all that was created from here
	walked_to   INTEGER NOT NULL, -- to here was looked at
	updated_at  INTEGER NOT NULL,
	PRIMARY KEY (kind, account_sid)
) WITHOUT ROWID;
