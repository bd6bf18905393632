-- SPDX-License-Identifier: MIT
-- What the private listener's API asks: figures over all calls, lists of them, recordings by call or conference.

-- Calls of each UTC day and status, so that figures over a million calls cost a few rows. Whoever changes a call only appends to call_deltas: were it the
-- sums themselves, every transaction that changes a call would wait for the others at their rows. Who asks for figures adds the deltas up (LEDGER_STATS);
-- sums and deltas together are exact at any moment.
CREATE TABLE call_days (
	day     date NOT NULL, -- of created_at
	status  call_status NOT NULL,
	calls   bigint NOT NULL,
	timed   bigint NOT NULL, -- of which with a duration
	seconds bigint NOT NULL, -- the sum of durations
	PRIMARY KEY (day, status)
);
CREATE TABLE call_deltas (
	day     date NOT NULL,
	status  call_status NOT NULL,
	calls   bigint NOT NULL,
	timed   bigint NOT NULL,
	seconds bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Who may change calls need not have rights on these tables.
CREATE FUNCTION calls_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO call_deltas SELECT (created_at AT TIME ZONE 'UTC')::date, status, count(*), count(duration), coalesce(sum(duration), 0)
			FROM added GROUP BY 1, 2;
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO call_deltas SELECT (created_at AT TIME ZONE 'UTC')::date, status, -count(*), -count(duration), -coalesce(sum(duration), 0)
			FROM removed GROUP BY 1, 2;
	ELSIF TG_OP = 'UPDATE' THEN
		INSERT INTO call_deltas VALUES
			((OLD.created_at AT TIME ZONE 'UTC')::date, OLD.status, -1, -(OLD.duration IS NOT NULL)::integer, -coalesce(OLD.duration, 0)),
			((NEW.created_at AT TIME ZONE 'UTC')::date, NEW.status, 1, (NEW.duration IS NOT NULL)::integer, coalesce(NEW.duration, 0));
	ELSE
		DELETE FROM call_days;
		DELETE FROM call_deltas;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER calls_added AFTER INSERT ON calls REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION calls_changed();
CREATE TRIGGER calls_removed AFTER DELETE ON calls REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION calls_changed();
CREATE TRIGGER calls_changed AFTER UPDATE OF status, duration, created_at ON calls FOR EACH ROW
	WHEN ((OLD.status, OLD.duration, OLD.created_at) IS DISTINCT FROM (NEW.status, NEW.duration, NEW.created_at)) EXECUTE FUNCTION calls_changed();
CREATE TRIGGER calls_emptied AFTER TRUNCATE ON calls FOR EACH STATEMENT EXECUTE FUNCTION calls_changed();

INSERT INTO call_days SELECT (created_at AT TIME ZONE 'UTC')::date, status, count(*), count(duration), coalesce(sum(duration), 0) FROM calls GROUP BY 1, 2;

CREATE INDEX calls_duration ON calls (duration, id) WHERE duration IS NOT NULL;
CREATE INDEX calls_rating ON calls (rating, id) WHERE rating IS NOT NULL;

-- Eight digits of the SID: enough to find it, and a small index.
CREATE INDEX recordings_call ON recordings (substr(call_sid, 3, 8), id) WHERE call_sid IS NOT NULL;
CREATE INDEX recordings_conference ON recordings (substr(conference_sid, 3, 8), id) WHERE conference_sid IS NOT NULL;
