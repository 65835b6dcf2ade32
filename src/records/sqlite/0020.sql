-- When one instance of a class that a destination does not take is tried there again; below 0, and the same time, while a person has one tried. NULL once one was taken: what was
-- parked for the class is let go, and then the row goes (WEB-063).
ALTER TABLE unsupported ADD COLUMN probe INTEGER DEFAULT 0;
-- How many batches a destination took something of, and where that stood when it last refused a transfer in words that may be meant of
-- the destination as a whole; and the transfer that alone was refused so last. Whose such a refusal is, they say (REL-21, REL-24).
ALTER TABLE destinations ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN refused INTEGER;
ALTER TABLE transfers ADD COLUMN refused INTEGER;
