-- The last pull of a study from a peer. ended: NULL while it goes on. checked: when the peer last told what it has; used: when it
-- was last asked for here; missing: listed, asked for and not come; flushed: its copies have gone since.
CREATE TABLE pulls (
    study   TEXT    NOT NULL,
    peer    TEXT    NOT NULL,
    began   INTEGER NOT NULL,
    ended   INTEGER,
    checked INTEGER,
    used    INTEGER NOT NULL,
    listed  INTEGER NOT NULL DEFAULT 0,
    came    INTEGER NOT NULL DEFAULT 0,
    missing INTEGER NOT NULL DEFAULT 0,
    how     TEXT,
    flushed INTEGER,
    PRIMARY KEY (study, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX pulls_kept ON pulls (used) WHERE flushed IS NULL;
