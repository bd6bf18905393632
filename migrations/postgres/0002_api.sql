-- SPDX-License-Identifier: MIT
-- What the private listener's API asks: figures over all calls, lists of them, recordings by call or conference.

-- Counts by status and by day are scans of this index alone. A table of sums would be cheaper to read, but every transaction that
-- changes a call would wait for the others at its rows.
CREATE INDEX calls_figures ON calls (created_at, status, duration);
CREATE INDEX calls_duration ON calls (duration, id) WHERE duration IS NOT NULL;
CREATE INDEX calls_rating ON calls (rating, id) WHERE rating IS NOT NULL;
-- Scans of an index alone need pages that vacuum has seen: by how many rows changed, not by how many there are.
ALTER TABLE calls SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Eight digits of the SID: enough to find it, and a small index.
CREATE INDEX recordings_call ON recordings (substr(call_sid, 3, 8), id) WHERE call_sid IS NOT NULL;
CREATE INDEX recordings_conference ON recordings (substr(conference_sid, 3, 8), id) WHERE conference_sid IS NOT NULL;
