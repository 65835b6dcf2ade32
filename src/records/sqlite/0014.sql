-- Whether the destination said of a transfer that it has the instance already, and that was not compared with ours yet.
ALTER TABLE transfers ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX transfers_claimed ON transfers (destination) WHERE claimed = 1;
