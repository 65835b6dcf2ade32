-- Keeping house: what was purged, when and by which rule; how many instances still need a blob; what lies in a file.

CREATE TABLE purges (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    rule  TEXT    NOT NULL CHECK (rule IN ('age', 'room', 'dropped')),
    who   TEXT,
    words INTEGER REFERENCES words
) STRICT;

-- An instance that arrives again after a purge has its bytes again, and may be purged again.
CREATE TABLE purged (
    instance INTEGER NOT NULL REFERENCES instances,
    purge    INTEGER NOT NULL REFERENCES purges,
    PRIMARY KEY (instance, purge)
) STRICT, WITHOUT ROWID;

CREATE INDEX instances_blob ON instances (blob);
CREATE INDEX instances_kept ON instances (received, id) WHERE state = 'stored' AND unrouted = 0;
CREATE INDEX blobs_file ON blobs (file) WHERE state <> 'freed';
