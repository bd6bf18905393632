-- SPDX-License-Identifier: MIT
-- A recording may fail before its call is known, and then the note about it finds no row. So a call that comes has the notes of what failed before it.
CREATE INDEX recordings_failed ON recordings (call_sid) WHERE status IN ('failed', 'absent', 'dead');
CREATE TRIGGER calls_noted AFTER INSERT ON calls
	WHEN EXISTS (SELECT 1 FROM recordings WHERE call_sid = NEW.twilio_sid AND status IN ('failed', 'absent', 'dead')) BEGIN
	UPDATE calls SET notes = (SELECT group_concat(note, char(10)) FROM (
			SELECT strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1000.0, 'unixepoch') || ' Recording ' || recording_sid || ': '
				|| CASE status WHEN 'dead' THEN 'dead: ' ELSE '' END || coalesce(last_error, 'no reason given') AS note
			FROM recordings WHERE call_sid = NEW.twilio_sid AND status IN ('failed', 'absent', 'dead') ORDER BY id LIMIT 16))
		WHERE id = NEW.id AND coalesce(notes, '') = '';
END;
