-- Key Object Selections, each of which may be a rejection note: to be read, and what was found. pending: what it names is to be looked
-- through once more; raised by whatever asks for that.
CREATE TABLE rejections (
    instance     INTEGER PRIMARY KEY REFERENCES instances,
    standing     TEXT    NOT NULL CHECK (standing IN ('unread', 'ordinary', 'in force', 'not honoured', 'lifted')),
    pending      INTEGER NOT NULL DEFAULT 0,
    reason       TEXT,
    decided      INTEGER,
    words        INTEGER REFERENCES words,
    lifted       INTEGER,
    lifted_by    TEXT,
    lifted_words INTEGER REFERENCES words
) STRICT;
CREATE INDEX rejections_work ON rejections (instance) WHERE standing = 'unread' OR pending > 0;

-- What each note names, whether it is here or not.
CREATE TABLE rejected (
    note  INTEGER NOT NULL REFERENCES rejections,
    uid   TEXT    NOT NULL,
    study TEXT    NOT NULL,
    PRIMARY KEY (note, uid, study)
) STRICT, WITHOUT ROWID;
CREATE INDEX rejected_uid ON rejected (uid);

-- The note that hides an instance; it is then shown and sent to nobody.
ALTER TABLE instances ADD COLUMN hidden INTEGER REFERENCES instances;
CREATE INDEX instances_hidden ON instances (hidden) WHERE hidden IS NOT NULL;

-- Notes that came before notes were read are read now.
INSERT INTO rejections (instance, standing) SELECT id, 'unread' FROM instances WHERE sop_class = '1.2.840.10008.5.1.4.1.1.88.59';

-- Whether anything of a study is kept is told by the index alone.
DROP INDEX instances_study;
CREATE INDEX instances_study ON instances (study, series, state, behind, borrowed, hidden);
