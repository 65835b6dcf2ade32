-- What a destination warns of when it stores, by the code that it gives: since when and how often since a person last resumed it, and the
-- last instance of which it did.
CREATE TABLE warnings (
    destination INTEGER NOT NULL REFERENCES destinations,
    code        INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    instance    INTEGER NOT NULL REFERENCES instances,
    PRIMARY KEY (destination, code)
) STRICT, WITHOUT ROWID;
