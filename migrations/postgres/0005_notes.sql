-- SPDX-License-Identifier: MIT
-- A recording may fail before its call is known, and then the note about it finds no row. So a call that comes has the notes of what failed before it.
CREATE INDEX recordings_failed ON recordings (call_sid) WHERE status IN ('failed', 'absent', 'dead');

-- Who may insert calls need not have rights on recordings.
CREATE FUNCTION calls_noted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
	SELECT string_agg(note, chr(10)) INTO NEW.notes FROM (
		SELECT to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || ' Recording ' || recording_sid || ': '
			|| CASE status WHEN 'dead' THEN 'dead: ' ELSE '' END || coalesce(last_error, 'no reason given') AS note
		FROM recordings WHERE call_sid = NEW.twilio_sid AND status IN ('failed', 'absent', 'dead') ORDER BY id LIMIT 16) n;
	RETURN NEW;
END $$;
CREATE TRIGGER calls_noted BEFORE INSERT ON calls FOR EACH ROW WHEN (coalesce(NEW.notes, '') = '') EXECUTE FUNCTION calls_noted();
