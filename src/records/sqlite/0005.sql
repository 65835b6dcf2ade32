-- The judge of other content under a known UID (IDY-020): digests that do not depend on the transfer syntax, and verdicts.

-- behind: the version that stands in front of this one, because it says the same or because a person took it as the revision.
-- Only what stands behind none is shown, asked for and sent anew.
ALTER TABLE instances ADD COLUMN behind INTEGER REFERENCES instances;

-- canon and core are NULL where the content cannot be told. profile names what was left out: digests of two profiles do not compare.
CREATE TABLE digests (
    instance INTEGER NOT NULL REFERENCES instances,
    profile  TEXT    NOT NULL,
    canon    BLOB,
    core     BLOB,
    form     TEXT    NOT NULL CHECK (form IN ('absent', 'lossless', 'lossy', 'unknown')),
    pixels   BLOB,
    patient  BLOB,
    PRIMARY KEY (instance, profile)
) STRICT, WITHOUT ROWID;

-- verdict: what the judge found; against: in comparison with which version; decision: what a person made of it.
ALTER TABLE exceptions ADD COLUMN verdict TEXT;
ALTER TABLE exceptions ADD COLUMN against INTEGER REFERENCES instances;
ALTER TABLE exceptions ADD COLUMN decision TEXT CHECK (decision IN ('accepted', 'rejected'));
CREATE INDEX exceptions_unjudged ON exceptions (id) WHERE kind = 'conflict' AND closed IS NULL AND verdict IS NULL;
