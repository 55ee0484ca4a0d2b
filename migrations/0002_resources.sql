-- What each attempt took of the machine.

ALTER TABLE attempts ADD COLUMN cpu_seconds REAL;           -- of all its threads
ALTER TABLE attempts ADD COLUMN peak_memory_bytes INTEGER;  -- the most that was resident at once
