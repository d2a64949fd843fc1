-- What the attempt that writes a run's journal had consumed, and over how many model calls, when it last stored something:
-- stored with the call itself, so that a crash right after does not lose it from the count.
ALTER TABLE journals ADD COLUMN calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN usage BLOB NOT NULL DEFAULT X'7B7D';
