-- SPDX-License-Identifier: MIT
-- What the private listener's API asks: figures over all calls, lists of them, recordings by call or conference.

-- Calls of each UTC day and status. Kept by triggers, in the transaction that changes a call, so that figures over a million calls cost a few rows.
-- INSERT OR REPLACE into calls would bypass the trigger of the replaced row: use ON CONFLICT ... DO UPDATE there.
CREATE TABLE call_days (
	day     INTEGER NOT NULL, -- of created_at, since 1970-01-01
	status  TEXT NOT NULL,
	calls   INTEGER NOT NULL,
	timed   INTEGER NOT NULL, -- of which with a duration
	seconds INTEGER NOT NULL, -- the sum of durations
	PRIMARY KEY (day, status)
) WITHOUT ROWID;
INSERT INTO call_days (day, status, calls, timed, seconds)
	SELECT created_at / 86400000, status, count(*), count(duration), coalesce(sum(duration), 0) FROM calls GROUP BY 1, 2;

CREATE TRIGGER calls_added AFTER INSERT ON calls BEGIN
	INSERT INTO call_days (day, status, calls, timed, seconds)
		VALUES (NEW.created_at / 86400000, NEW.status, 1, NEW.duration IS NOT NULL, coalesce(NEW.duration, 0))
		ON CONFLICT (day, status) DO UPDATE SET calls = calls + 1, timed = timed + excluded.timed, seconds = seconds + excluded.seconds;
END;
CREATE TRIGGER calls_changed AFTER UPDATE OF status, duration, created_at ON calls
	WHEN OLD.status <> NEW.status OR OLD.duration IS NOT NEW.duration OR OLD.created_at <> NEW.created_at BEGIN
	UPDATE call_days SET calls = calls - 1, timed = timed - (OLD.duration IS NOT NULL), seconds = seconds - coalesce(OLD.duration, 0)
		WHERE day = OLD.created_at / 86400000 AND status = OLD.status;
	INSERT INTO call_days (day, status, calls, timed, seconds)
		VALUES (NEW.created_at / 86400000, NEW.status, 1, NEW.duration IS NOT NULL, coalesce(NEW.duration, 0))
		ON CONFLICT (day, status) DO UPDATE SET calls = calls + 1, timed = timed + excluded.timed, seconds = seconds + excluded.seconds;
END;
CREATE TRIGGER calls_removed AFTER DELETE ON calls BEGIN
	UPDATE call_days SET calls = calls - 1, timed = timed - (OLD.duration IS NOT NULL), seconds = seconds - coalesce(OLD.duration, 0)
		WHERE day = OLD.created_at / 86400000 AND status = OLD.status;
END;

CREATE INDEX calls_duration ON calls (duration) WHERE duration IS NOT NULL;
CREATE INDEX calls_rating ON calls (rating) WHERE rating IS NOT NULL;

-- Eight digits of the SID, within blocks of 16384 rows. SIDs are random: an index over them alone would have each event dirty a page of its own
-- (measured: twice the processor time of forwarding). Within the newest block a batch meets the same few pages, and a search costs a look into
-- each block, 61 for a million rows.
CREATE INDEX recordings_call ON recordings (id >> 14, substr(call_sid, 3, 8)) WHERE call_sid IS NOT NULL;
CREATE INDEX recordings_conference ON recordings (id >> 14, substr(conference_sid, 3, 8)) WHERE conference_sid IS NOT NULL;
