-- Imaging orders as other systems last told them; a change gives an order a new id, so that whoever waits for orders asks for those
-- after the last id that it took. number: by what its source knows it.
CREATE TABLE orders (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,
    number      TEXT    NOT NULL,
    placer      TEXT    NOT NULL,
    filler      TEXT    NOT NULL,
    accession   TEXT    NOT NULL,
    study       TEXT    NOT NULL,
    control     TEXT    NOT NULL,
    issuer      TEXT    NOT NULL,
    patient_id  TEXT    NOT NULL,
    birth_date  TEXT    NOT NULL,
    modality    TEXT    NOT NULL,
    procedure   TEXT    NOT NULL,
    description TEXT    NOT NULL,
    scheduled   TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    UNIQUE (source, number)
) STRICT;

-- Messages that were taken lately, by their control number and a digest of their bytes: the same again changes nothing.
CREATE TABLE messages (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    source  TEXT    NOT NULL,
    control TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    UNIQUE (source, control, digest)
) STRICT;

-- Local numbers that are one patient's, as a source said when it merged them: the former one, and the one that stays.
CREATE TABLE merges (
    id            INTEGER PRIMARY KEY,
    former_issuer TEXT    NOT NULL,
    former        TEXT    NOT NULL,
    issuer        TEXT    NOT NULL,
    patient_id    TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    UNIQUE (former, former_issuer, patient_id, issuer, source)
) STRICT;
CREATE INDEX merges_into ON merges (patient_id, issuer);
