-- The cross-reference: what was said of a local number. Statements stand beside one another; none replaces another.
-- birth_date: YYYYMMDD, or empty if it was not said. source: `node PACS`, `import`, `hl7 RIS`.
CREATE TABLE identities (
    id         INTEGER PRIMARY KEY,
    issuer     TEXT    NOT NULL,
    patient_id TEXT    NOT NULL,
    number     TEXT    NOT NULL,
    birth_date TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    UNIQUE (patient_id, issuer, number, birth_date, source)
) STRICT;
CREATE INDEX identities_number ON identities (number, birth_date);

-- Who asked for a study, was given it, or was not, beside the entries that say the same: to be found by the study.
CREATE TABLE accesses (
    id      INTEGER PRIMARY KEY,
    study   TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    party   TEXT    NOT NULL,
    site    TEXT,
    caller  TEXT,
    purpose TEXT,
    detail  TEXT,
    given   INTEGER NOT NULL
) STRICT;
CREATE INDEX accesses_study ON accesses (study, at);
