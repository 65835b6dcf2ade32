-- What a person rejected is looked through for what may be purged, by an index of its own; and it is no longer told that no route chose it.
CREATE INDEX exceptions_rejected ON exceptions (instance) WHERE decision = 'rejected';
UPDATE instances SET unrouted = 0 WHERE unrouted = 1 AND id IN (SELECT instance FROM exceptions WHERE decision = 'rejected');

-- What routes chose and nobody was owed, because it came from there or may not go there, is told and kept as what no route chose.
UPDATE instances SET unrouted = 1 WHERE id IN (SELECT instance FROM arrivals WHERE withheld IS NOT NULL)
    AND unrouted = 0 AND borrowed = 0 AND behind IS NULL AND state <> 'purged'
    AND id NOT IN (SELECT instance FROM exceptions WHERE decision = 'rejected')
    AND NOT EXISTS (SELECT 1 FROM transfers t WHERE t.study = instances.study AND t.destination IN (SELECT id FROM destinations)
        AND t.instance = instances.id);
