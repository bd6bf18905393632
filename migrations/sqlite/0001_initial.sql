-- SPDX-License-Identifier: MIT
-- Conditions of rows are spelt with OR and AND: for IN with a list SQLite builds a table at every statement.
-- Times are milliseconds since the Unix epoch: datetime(received_at / 1000, 'unixepoch') shows one.

CREATE TABLE calls (
	id             INTEGER PRIMARY KEY,
	twilio_sid     TEXT NOT NULL UNIQUE,
	from_number    TEXT,
	to_number      TEXT,
	status         TEXT NOT NULL DEFAULT 'RINGING' CHECK (status = 'COMPLETED' OR status = 'IN_PROGRESS' OR status = 'RINGING' OR
	                                                     status = 'FAILED' OR status = 'NO_ANSWER'),
	duration       INTEGER,
	recording_url  TEXT,
	transcript_url TEXT,
	rating         INTEGER CHECK (rating BETWEEN 1 AND 5),
	notes          TEXT,
	tags           TEXT NOT NULL DEFAULT '[]', -- JSON array of strings
	created_at     INTEGER NOT NULL,
	updated_at     INTEGER NOT NULL
);

CREATE TABLE call_segments (
	id         INTEGER PRIMARY KEY,
	call_id    INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
	speaker    TEXT NOT NULL CHECK (speaker IN ('SCAMMER', 'EARL')),
	text       TEXT NOT NULL,
	timestamp  REAL NOT NULL, -- seconds into the call
	created_at INTEGER NOT NULL
);
CREATE INDEX call_segments_call ON call_segments (call_id);

-- One row per RecordingSid. Rows are appended by id; the only index with random keys holds the 16 bytes behind the prefix of the SID.
CREATE TABLE recordings (
	id                   INTEGER PRIMARY KEY,
	recording_sid        TEXT NOT NULL,
	sid_key              BLOB NOT NULL CHECK (length(sid_key) = 16),
	account_sid          TEXT,
	call_sid             TEXT,
	conference_sid       TEXT,
	status               TEXT NOT NULL CHECK (status = 'running' OR status = 'stored' OR status = 'pending' OR status = 'skipped' OR
	                                          status = 'absent' OR status = 'failed' OR status = 'dead' OR status = 'deleted'),
	attempts             INTEGER NOT NULL DEFAULT 0,
	next_attempt_at      INTEGER, -- of a pending one; NULL: Twilio has not said completed yet
	lease_owner          TEXT,
	lease_epoch          INTEGER NOT NULL DEFAULT 0,
	lease_expires_at     INTEGER,
	last_error           TEXT,
	error_code           INTEGER, -- Twilio's
	key                  TEXT,
	url                  TEXT,
	bytes                INTEGER,
	md5                  TEXT,
	sha256               TEXT,
	content_type         TEXT,
	duration             INTEGER,
	channels             INTEGER,
	source               TEXT,
	track                TEXT,
	start_time           INTEGER,
	received_at          INTEGER NOT NULL,
	completed_at         INTEGER, -- when Twilio's completed was received
	stored_at            INTEGER,
	deleted_at_twilio_at INTEGER,
	updated_at           INTEGER NOT NULL
);
CREATE UNIQUE INDEX recordings_sid ON recordings (sid_key);
CREATE INDEX recordings_due ON recordings (next_attempt_at) WHERE status = 'pending';
CREATE INDEX recordings_leased ON recordings (lease_expires_at) WHERE status = 'running';
-- Not over stored ones, which are nearly all. Were it over every status, the planner would take it for claims, and they would sort the whole backlog.
CREATE INDEX recordings_open ON recordings (status) WHERE status <> 'stored';

-- The audit trail: what happened to a recording, numbered from 1.
CREATE TABLE recording_events (
	recording_id INTEGER NOT NULL REFERENCES recordings (id) ON DELETE CASCADE,
	n            INTEGER NOT NULL,
	at           INTEGER NOT NULL,
	what         TEXT NOT NULL,
	detail       TEXT,
	PRIMARY KEY (recording_id, n)
) WITHOUT ROWID;
