-- SPDX-License-Identifier: MIT
-- Comparing with Twilio's list of recordings: one row with the lease of who walks it, and how far a walk came that is not finished.

CREATE TABLE reconcile (
	id               integer PRIMARY KEY CHECK (id = 1),
	lease_owner      text, -- NULL: nobody walks
	lease_epoch      bigint NOT NULL DEFAULT 0,
	lease_expires_at timestamptz,
	finished_at      timestamptz -- when a scheduled walk last came to its end
);
INSERT INTO reconcile (id) VALUES (1);

CREATE TABLE reconcile_progress (
	kind        text NOT NULL CHECK (kind IN ('scheduled', 'requested')),
	account_sid text NOT NULL,
	walked_from timestamptz NOT NULL, -- all that was created from here
	walked_to   timestamptz NOT NULL, -- to here was looked at
	updated_at  timestamptz NOT NULL,
	PRIMARY KEY (kind, account_sid)
);
