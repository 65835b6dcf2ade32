-- What a destination does not take, and what it was found to do (WEB-063, WEB-073).

-- SOP classes that a destination refused: their transfers are parked there until a person lifts it.
CREATE TABLE unsupported (
    destination INTEGER NOT NULL REFERENCES destinations,
    sop_class   TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    words       INTEGER REFERENCES words,
    PRIMARY KEY (destination, sop_class)
) STRICT, WITHOUT ROWID;

-- The last profile of a peer, as JSON.
CREATE TABLE profiles (
    name    TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    profile TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
