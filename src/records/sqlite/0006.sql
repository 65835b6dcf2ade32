-- Which other sites hold which studies, as they themselves have shown when they were asked (docs/data.md).

-- seen: when it was last shown there; instances: how many it had then, if that was said.
CREATE TABLE locations (
    study     TEXT    NOT NULL,
    peer      TEXT    NOT NULL,
    instances INTEGER,
    seen      INTEGER NOT NULL,
    PRIMARY KEY (study, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX locations_seen ON locations (seen);
