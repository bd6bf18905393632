-- SPDX-License-Identifier: MIT

CREATE TYPE call_status AS ENUM ('RINGING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'NO_ANSWER');

CREATE TABLE calls (
	id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	twilio_sid     text NOT NULL UNIQUE,
	from_number    text,
	to_number      text,
	status         call_status NOT NULL DEFAULT 'RINGING',
	duration       integer, -- seconds
	recording_url  text,
	transcript_url text,
	rating         integer CHECK (rating BETWEEN 1 AND 5),
	notes          text,
	tags           text[] NOT NULL DEFAULT '{}',
	created_at     timestamptz NOT NULL DEFAULT now(),
	updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE call_segments (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	call_id    bigint NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
	speaker    text NOT NULL CHECK (speaker IN ('SCAMMER', 'EARL')),
	text       text NOT NULL,
	timestamp  double precision NOT NULL, -- seconds into the call
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX call_segments_call ON call_segments (call_id);

-- One row per RecordingSid. The key of a SID is the 16 bytes behind its prefix, whatever the case of its digits.
CREATE TABLE recordings (
	id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	recording_sid        text NOT NULL,
	sid_key              uuid NOT NULL GENERATED ALWAYS AS (substr(recording_sid, 3)::uuid) STORED,
	account_sid          text,
	call_sid             text,
	conference_sid       text,
	status               text NOT NULL CHECK (status IN ('pending', 'running', 'stored', 'skipped', 'absent', 'failed', 'dead', 'deleted')),
	attempts             integer NOT NULL DEFAULT 0,
	next_attempt_at      timestamptz, -- of a pending one; NULL: Twilio has not said completed yet
	lease_owner          text,
	lease_epoch          bigint NOT NULL DEFAULT 0,
	lease_expires_at     timestamptz,
	last_error           text,
	error_code           integer, -- Twilio's
	key                  text,
	url                  text,
	bytes                bigint,
	md5                  text,
	sha256               text,
	content_type         text,
	duration             integer, -- seconds
	channels             integer,
	source               text,
	track                text,
	start_time           timestamptz,
	received_at          timestamptz NOT NULL,
	completed_at         timestamptz, -- when Twilio's completed was received
	stored_at            timestamptz,
	deleted_at_twilio_at timestamptz,
	updated_at           timestamptz NOT NULL,
	events               integer NOT NULL DEFAULT 0 -- rows of its audit trail
-- A row changes a few times in its first minute and then never: vacuum by what changed, not by how much there is.
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE UNIQUE INDEX recordings_sid ON recordings (sid_key);
CREATE INDEX recordings_status ON recordings (status, id);
CREATE INDEX recordings_due ON recordings (next_attempt_at) WHERE status = 'pending';
CREATE INDEX recordings_leased ON recordings (lease_expires_at) WHERE status = 'running';

-- The audit trail: what happened to a recording, numbered from 1.
CREATE TABLE recording_events (
	recording_id bigint NOT NULL REFERENCES recordings (id) ON DELETE CASCADE,
	n            integer NOT NULL,
	at           timestamptz NOT NULL,
	what         text NOT NULL,
	detail       text,
	PRIMARY KEY (recording_id, n)
);
