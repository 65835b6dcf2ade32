-- The study of the last doubtful batch: doubts about one study only are no outage of the destination (REL-24).
ALTER TABLE destinations ADD COLUMN doubted INTEGER;
