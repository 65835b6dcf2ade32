-- What a later instance said of its patient and study (series 0) or of its series, where that is not what the first one said: a study is
-- withheld by all that was ever said of it (SEC-022).
CREATE TABLE also_said (
    study      INTEGER NOT NULL REFERENCES studies,
    series     INTEGER NOT NULL,
    attributes TEXT    NOT NULL,
    PRIMARY KEY (study, series, attributes)
) STRICT, WITHOUT ROWID;
