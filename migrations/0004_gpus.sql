-- The graphics processors of the machine of a run, by name; none where it has none, or where it was not recorded.

ALTER TABLE runs ADD COLUMN gpus TEXT;
