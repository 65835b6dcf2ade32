-- Questions about a transfer in a row that came to nothing: they make the waits longer, and are no failures of it (REL-21).
ALTER TABLE transfers ADD COLUMN unanswered INTEGER NOT NULL DEFAULT 0;
