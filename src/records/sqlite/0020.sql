-- When one instance of a class that a destination does not take is tried there again; below 0 while a person has one tried. NULL once one was taken: what was parked for the class
-- is let go, and then the row goes (WEB-063).
ALTER TABLE unsupported ADD COLUMN probe INTEGER DEFAULT 0;
