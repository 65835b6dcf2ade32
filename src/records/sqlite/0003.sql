-- Priorities, turns and pauses (REL-23).

ALTER TABLE transfers ADD COLUMN priority INTEGER NOT NULL DEFAULT 2;

ALTER TABLE destinations ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN paused INTEGER;
ALTER TABLE destinations ADD COLUMN paused_by TEXT;
ALTER TABLE destinations ADD COLUMN paused_words INTEGER REFERENCES words;

-- What waits to be sent, by destination, study and priority: which study's turn it is, without looking at each transfer.
-- due: 0 at once, later when the first comes due, NULL nothing waits just now (the row remembers when it was served).
-- It never lies late: `due` and `since` are at most those of any transfer that waits, which the triggers see to. It may lie
-- early, when what waited was held or cancelled; a lease that finds nothing puts it right.
CREATE TABLE queue (
    destination INTEGER NOT NULL REFERENCES destinations,
    study       INTEGER NOT NULL REFERENCES studies,
    priority    INTEGER NOT NULL,
    due         INTEGER,
    since       INTEGER NOT NULL,
    served      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (destination, study, priority)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_highest ON queue (destination, priority, served, since DESC) WHERE due = 0;
CREATE INDEX queue_oldest ON queue (destination, since) WHERE due = 0;
CREATE INDEX queue_later ON queue (destination, due) WHERE due > 0;
CREATE INDEX queue_idle ON queue (destination, served) WHERE due IS NULL;
CREATE INDEX transfers_waiting ON transfers (destination, study, priority, lane, due) WHERE lane IN (0, 1);

CREATE TRIGGER transfers_made AFTER INSERT ON transfers WHEN NEW.lane IN (0, 1) BEGIN
    INSERT INTO queue (destination, study, priority, due, since)
    VALUES (NEW.destination, NEW.study, NEW.priority, iif(NEW.lane = 0, 0, max(NEW.due, 1)), NEW.created)
    ON CONFLICT (destination, study, priority) DO UPDATE
    SET since = iif(due IS NULL, excluded.since, min(since, excluded.since)), due = min(coalesce(due, excluded.due), excluded.due)
    WHERE due IS NULL OR due > excluded.due OR since > excluded.since;
END;

CREATE TRIGGER transfers_moved AFTER UPDATE OF lane, due, priority ON transfers
WHEN NEW.lane IN (0, 1) AND (OLD.lane IS NOT NEW.lane OR OLD.due <> NEW.due OR OLD.priority <> NEW.priority) BEGIN
    INSERT INTO queue (destination, study, priority, due, since)
    VALUES (NEW.destination, NEW.study, NEW.priority, iif(NEW.lane = 0, 0, max(NEW.due, 1)), NEW.created)
    ON CONFLICT (destination, study, priority) DO UPDATE
    SET since = iif(due IS NULL, excluded.since, min(since, excluded.since)), due = min(coalesce(due, excluded.due), excluded.due)
    WHERE due IS NULL OR due > excluded.due OR since > excluded.since;
END;

INSERT INTO queue (destination, study, priority, due, since)
SELECT destination, study, priority, min(iif(lane = 0, 0, max(due, 1))), min(created) FROM transfers WHERE lane IN (0, 1)
GROUP BY destination, study, priority;
