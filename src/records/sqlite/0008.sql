-- What was asked for at peers and archives: two more kinds of origin. A CHECK cannot be changed, so the table is made anew.

CREATE TABLE arrivals_of_all_kinds (
    instance    INTEGER NOT NULL REFERENCES instances,
    n           INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    how         TEXT    NOT NULL CHECK (how IN ('stored', 'same', 'differs')),
    origin_kind TEXT    NOT NULL CHECK (origin_kind IN ('node', 'peer', 'operator', 'pulled', 'archive')),
    origin_name TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    withheld    TEXT,
    PRIMARY KEY (instance, n)
) STRICT, WITHOUT ROWID;
INSERT INTO arrivals_of_all_kinds SELECT instance, n, at, how, origin_kind, origin_name, source, withheld FROM arrivals;
DROP TABLE arrivals;
ALTER TABLE arrivals_of_all_kinds RENAME TO arrivals;

-- 0: ours to keep; 1: every arrival so far was pulled from a peer, which keeps it; 2: fetched from an archive of ours.
ALTER TABLE instances ADD COLUMN borrowed INTEGER NOT NULL DEFAULT 0;

