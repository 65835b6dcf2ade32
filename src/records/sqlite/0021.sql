-- The act of a person that ended an exception; NULL while it is open, and where it ended by itself (UIX-09).
ALTER TABLE exceptions ADD COLUMN act INTEGER REFERENCES acts;
UPDATE exceptions AS x SET act = CASE
    WHEN x.transfer IS NOT NULL THEN (SELECT max(p.act) FROM steps p WHERE p.transfer = x.transfer AND p.at = x.closed)
    WHEN x.kind = 'corrupt' THEN (SELECT max(e.id) FROM acts e WHERE e.at = x.closed AND e.verb = 'seen')
    WHEN x.decision IS NOT NULL THEN (SELECT max(e.id) FROM acts e WHERE e.at = x.closed AND e.verb IN ('accept', 'reject'))
    END WHERE x.closed IS NOT NULL;

-- What an earlier version left parked for a class of which it knew nothing any more is tried again (WEB-063).
INSERT OR IGNORE INTO unsupported (destination, sop_class, since, words)
    SELECT t.destination, i.sop_class, min(p.at), t.words FROM transfers t JOIN instances i ON i.id = t.instance
    JOIN steps p ON p.transfer = t.id AND p.n = t.steps WHERE t.state = 'parked' AND t.resume = 'class'
    GROUP BY t.destination, i.sop_class;

-- The transfer that alone was refused last in words that may be meant of the destination as a whole (REL-24).
ALTER TABLE destinations RENAME COLUMN refused TO refused_alone;
-- How many batches the destination had taken something of (destinations.taken) when it last refused the transfer so.
ALTER TABLE transfers RENAME COLUMN refused TO refused_at;
