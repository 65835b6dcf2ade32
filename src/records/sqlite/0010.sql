-- What is pulled ahead of its being asked for, once for each cause. kind and cause: `study` and its UID, `order` and its source and
-- number, `request` and an id. For whom: the number, its issuer, and the NHS number where that is known already. due: when it is tried
-- next, NULL once it has ended; how: how it stands, or how it ended.
CREATE TABLE prefetches (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind IN ('study', 'order', 'request')),
    cause      TEXT    NOT NULL,
    who        TEXT    NOT NULL,
    patient_id TEXT    NOT NULL,
    issuer     TEXT    NOT NULL,
    nhs        TEXT    NOT NULL,
    birth_date TEXT    NOT NULL,
    modalities TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due        INTEGER,
    how        TEXT    NOT NULL,
    UNIQUE (kind, cause)
) STRICT;
CREATE INDEX prefetches_due ON prefetches (due) WHERE due IS NOT NULL;

-- The priors that were chosen, by which rule, and how far they came.
CREATE TABLE prefetched (
    prefetch INTEGER NOT NULL REFERENCES prefetches,
    study    TEXT    NOT NULL,
    peer     TEXT    NOT NULL,
    rule     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    how      TEXT    NOT NULL,
    PRIMARY KEY (prefetch, study)
) STRICT, WITHOUT ROWID;
CREATE INDEX prefetched_study ON prefetched (study);
