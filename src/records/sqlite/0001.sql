-- The first layout of the records. Times are microseconds since 1970-01-01 UTC.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The ledger: canonical bytes, and what the sequencer added.
CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    kind     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    bytes    BLOB    NOT NULL,
    leaf     BLOB    NOT NULL,
    chain    BLOB    NOT NULL
) STRICT;

CREATE TABLE edge (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    size  INTEGER NOT NULL,
    chain BLOB    NOT NULL,
    nodes BLOB    NOT NULL
) STRICT;

CREATE TABLE heads (
    size  INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    root  BLOB    NOT NULL,
    chain BLOB    NOT NULL
) STRICT;

-- What people and other systems said. Deletable: entries hold a salted hash only.
CREATE TABLE words (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE,
    salt BLOB NOT NULL
) STRICT;

-- Patient and study attributes by tag, decoded; the columns are copies for finding.
CREATE TABLE studies (
    id               INTEGER PRIMARY KEY,
    uid              TEXT NOT NULL UNIQUE,
    patient_id       TEXT,
    issuer           TEXT,
    accession_number TEXT,
    study_date       TEXT,
    attributes       TEXT NOT NULL
) STRICT;
CREATE INDEX studies_patient ON studies (patient_id);
CREATE INDEX studies_accession ON studies (accession_number);

CREATE TABLE series (
    id         INTEGER PRIMARY KEY,
    study      INTEGER NOT NULL REFERENCES studies,
    uid        TEXT    NOT NULL,
    attributes TEXT    NOT NULL,
    UNIQUE (study, uid)
) STRICT;

-- The generations of blobs; the id is the generation and is never used again. Corrupt ones keep their bytes, set aside.
CREATE TABLE blobs (
    id     INTEGER PRIMARY KEY,
    digest BLOB    NOT NULL,
    file   INTEGER NOT NULL,
    shared INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    state  TEXT    NOT NULL CHECK (state IN ('live', 'condemned', 'freed', 'corrupt'))
) STRICT;
CREATE UNIQUE INDEX blobs_live ON blobs (digest) WHERE state = 'live';
CREATE INDEX blobs_condemned ON blobs (id) WHERE state = 'condemned';

CREATE TABLE instances (
    id              INTEGER PRIMARY KEY,
    sop_uid         TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    study           INTEGER NOT NULL REFERENCES studies,
    series          INTEGER NOT NULL REFERENCES series,
    sop_class       TEXT    NOT NULL,
    transfer_syntax TEXT    NOT NULL,
    sha256          BLOB    NOT NULL,
    length          INTEGER NOT NULL,
    blob            INTEGER NOT NULL REFERENCES blobs,
    state           TEXT    NOT NULL CHECK (state IN ('stored', 'held', 'purged', 'corrupt')),
    unrouted        INTEGER NOT NULL,
    received        INTEGER NOT NULL,
    attributes      TEXT    NOT NULL,
    UNIQUE (sop_uid, version)
) STRICT;
CREATE INDEX instances_study ON instances (study, series);
CREATE INDEX instances_unrouted ON instances (id) WHERE unrouted = 1;

-- Where each instance came from, every time.
CREATE TABLE arrivals (
    instance    INTEGER NOT NULL REFERENCES instances,
    n           INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    how         TEXT    NOT NULL CHECK (how IN ('stored', 'same', 'differs')),
    origin_kind TEXT    NOT NULL CHECK (origin_kind IN ('node', 'peer', 'operator')),
    origin_name TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    withheld    TEXT,
    PRIMARY KEY (instance, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE destinations (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    reach      TEXT    NOT NULL DEFAULT 'up' CHECK (reach IN ('up', 'down', 'parked')),
    since      INTEGER,
    failures   INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER,
    words      INTEGER REFERENCES words
) STRICT;

-- lane: 0 to be sent, 1 to be sent when due, 2 to be asked about when due, 3 in hand, 4 waits for a person, NULL done.
CREATE TABLE transfers (
    id            INTEGER PRIMARY KEY,
    instance      INTEGER NOT NULL REFERENCES instances,
    destination   INTEGER NOT NULL REFERENCES destinations,
    study         INTEGER NOT NULL REFERENCES studies,
    cause         TEXT    NOT NULL,
    route         TEXT,
    mandatory     INTEGER NOT NULL,
    verify        TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    lane          INTEGER,
    due           INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    spent         INTEGER NOT NULL DEFAULT 0,
    attempt       INTEGER REFERENCES attempts,
    resume        TEXT,
    outcome       TEXT,
    words         INTEGER REFERENCES words,
    evidence      INTEGER REFERENCES words,
    created       INTEGER NOT NULL,
    done          INTEGER,
    steps         INTEGER NOT NULL DEFAULT 0,
    entry         BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX transfers_owed ON transfers (study, destination, instance, cause);
CREATE INDEX transfers_open ON transfers (destination, lane, due, study) WHERE lane IS NOT NULL;

CREATE TABLE attempts (
    id          INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL CHECK (kind IN ('send', 'check')),
    destination INTEGER NOT NULL REFERENCES destinations,
    study       INTEGER NOT NULL REFERENCES studies,
    epoch       INTEGER NOT NULL,
    began       INTEGER NOT NULL,
    ended       INTEGER,
    remaining   INTEGER NOT NULL,
    words       INTEGER REFERENCES words,
    entry       BLOB    NOT NULL
) STRICT;
CREATE INDEX attempts_open ON attempts (id) WHERE ended IS NULL;

CREATE TABLE acts (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    verb  TEXT    NOT NULL,
    who   TEXT    NOT NULL,
    words INTEGER REFERENCES words
) STRICT;

-- The history of each transfer: outcomes of attempts, acts of people, arrivals that owed it again.
CREATE TABLE steps (
    transfer INTEGER NOT NULL REFERENCES transfers,
    n        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    what     TEXT    NOT NULL,
    became   TEXT    NOT NULL,
    attempt  INTEGER REFERENCES attempts,
    act      INTEGER REFERENCES acts,
    words    INTEGER REFERENCES words,
    PRIMARY KEY (transfer, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE exceptions (
    id       INTEGER PRIMARY KEY,
    kind     TEXT    NOT NULL CHECK (kind IN ('conflict', 'dead', 'poison', 'corrupt', 'held')),
    instance INTEGER NOT NULL REFERENCES instances,
    transfer INTEGER REFERENCES transfers,
    opened   INTEGER NOT NULL,
    closed   INTEGER,
    words    INTEGER REFERENCES words
) STRICT;
CREATE INDEX exceptions_of_instance ON exceptions (instance);
CREATE INDEX exceptions_open ON exceptions (id) WHERE closed IS NULL;
