-- Whether a destination lets itself be asked what it holds: since when not, how often in a row it did not, when it may be asked next, and
-- what it said. Of sending that says nothing.
ALTER TABLE destinations ADD COLUMN unasked INTEGER;
ALTER TABLE destinations ADD COLUMN unasked_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN ask_not_before INTEGER;
ALTER TABLE destinations ADD COLUMN unasked_words INTEGER REFERENCES words;
