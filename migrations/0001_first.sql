-- The registry: which runs there were, what they made, and what was measured.
--
-- Times are RFC 3339 in UTC with milliseconds, as text, so that they sort and read as they are;
-- only metric_points, the one large table, counts milliseconds since 1970.

CREATE TABLE runs (
    id              INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,        -- pipeline and number: demo-3
    pipeline        TEXT    NOT NULL,
    number          INTEGER NOT NULL,
    status          TEXT    NOT NULL
        CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted')),
    started         TEXT    NOT NULL,
    ended           TEXT,
    pid             INTEGER NOT NULL,               -- of the supervisor
    definition      TEXT    NOT NULL CHECK (json_valid(definition)),
    command         TEXT    NOT NULL,
    working_folder  TEXT    NOT NULL,
    git_revision    TEXT,
    git_dirty       INTEGER CHECK (git_dirty IN (0, 1)),
    host            TEXT    NOT NULL,
    cpu             TEXT    NOT NULL,
    threads         INTEGER NOT NULL,
    versions        TEXT    NOT NULL CHECK (json_valid(versions)),
    UNIQUE (pipeline, number)
) STRICT;

CREATE INDEX runs_by_status ON runs (status);

CREATE TABLE stages (
    run_id          INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    position        INTEGER NOT NULL,               -- in the pipeline, from 0
    status          TEXT    NOT NULL CHECK (status IN (
        'pending', 'running', 'cached', 'succeeded', 'failed', 'interrupted', 'skipped')),
    fingerprint     TEXT    NOT NULL,               -- of the artifact that it is to make
    artifact        TEXT,                           -- the fingerprint again, once there is one
    started         TEXT,
    ended           TEXT,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX stages_by_fingerprint ON stages (fingerprint);
CREATE INDEX stages_by_status ON stages (status);

CREATE TABLE attempts (
    id              INTEGER PRIMARY KEY,
    run_id          INTEGER NOT NULL,
    stage           TEXT    NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 1),
    pid             INTEGER NOT NULL,               -- of the worker
    host            TEXT    NOT NULL,
    started         TEXT    NOT NULL,
    heartbeat       TEXT    NOT NULL,
    ended           TEXT,
    exit            TEXT,                           -- exit status, signal, or what else ended it
    error           TEXT,                           -- the error and its causes, one a line
    UNIQUE (run_id, stage, number),
    FOREIGN KEY (run_id, stage) REFERENCES stages (run_id, name) ON DELETE CASCADE
) STRICT;

CREATE INDEX attempts_open ON attempts (id) WHERE ended IS NULL;

CREATE TABLE artifacts (
    fingerprint     TEXT    PRIMARY KEY,
    kind            TEXT    NOT NULL,
    path            TEXT    NOT NULL,               -- below the home folder
    bytes           INTEGER NOT NULL,
    recorded        TEXT    NOT NULL,
    summary         TEXT    NOT NULL CHECK (json_valid(summary))
) STRICT, WITHOUT ROWID;

-- Lineage. An input may be an artifact that this registry never saw being made.
CREATE TABLE stage_inputs (
    fingerprint     TEXT    NOT NULL REFERENCES artifacts (fingerprint) ON DELETE CASCADE,
    role            TEXT    NOT NULL,               -- what the input is to the stage
    input           TEXT    NOT NULL,               -- its fingerprint
    PRIMARY KEY (fingerprint, role, input)
) STRICT, WITHOUT ROWID;

CREATE INDEX stage_inputs_by_input ON stage_inputs (input);

CREATE TABLE params (
    run_id          INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    key             TEXT    NOT NULL,               -- dotted: stages.train.batch_size
    value           TEXT    NOT NULL,
    PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX params_by_key ON params (key, value);

-- One row a series of points, with all that a listing wants to know of it.
CREATE TABLE metric_summary (
    id              INTEGER PRIMARY KEY,
    run_id          INTEGER NOT NULL,
    stage           TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    count           INTEGER NOT NULL,
    last_step       INTEGER NOT NULL,
    last            REAL,                           -- null: not a number, as everywhere below
    min             REAL,
    max             REAL,
    UNIQUE (run_id, stage, name),
    FOREIGN KEY (run_id, stage) REFERENCES stages (run_id, name) ON DELETE CASCADE
) STRICT;

CREATE TABLE metric_points (
    series          INTEGER NOT NULL REFERENCES metric_summary (id) ON DELETE CASCADE,
    step            INTEGER NOT NULL,
    value           REAL,
    time            INTEGER NOT NULL,
    PRIMARY KEY (series, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE scores (
    run_id              INTEGER NOT NULL,
    stage               TEXT    NOT NULL,
    subject             TEXT    NOT NULL,           -- a sample stage's name, noise, real-halves
    metric              TEXT    NOT NULL,           -- fd_efficientnet_lite0
    value               REAL    NOT NULL,
    extractor           TEXT    NOT NULL,
    extractor_hash      TEXT    NOT NULL,           -- of its weights
    resize              TEXT    NOT NULL,
    reference           TEXT    NOT NULL,           -- the reference artifact's fingerprint
    reference_images    INTEGER NOT NULL,
    samples             INTEGER NOT NULL,
    seeds               TEXT    NOT NULL,
    codec               TEXT    NOT NULL,           -- what the pixels went through
    images_seen         INTEGER,                    -- of the network in training
    time                TEXT    NOT NULL,
    PRIMARY KEY (run_id, stage, subject, metric),
    FOREIGN KEY (run_id, stage) REFERENCES stages (run_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id              INTEGER PRIMARY KEY,
    run_id          INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage           TEXT,                           -- null: the run as a whole
    level           TEXT    NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    message         TEXT    NOT NULL,
    time            TEXT    NOT NULL
) STRICT;

CREATE INDEX events_by_run ON events (run_id);

-- Every point of every series, by names.
CREATE VIEW metrics AS
SELECT runs.name AS run, series.stage, series.name, points.step, points.value,
       strftime('%Y-%m-%dT%H:%M:%fZ', points.time / 1000.0, 'unixepoch') AS time
FROM metric_points AS points
JOIN metric_summary AS series ON series.id = points.series
JOIN runs ON runs.id = series.run_id;

-- Every recorded distance with what makes it comparable, oldest first.
CREATE VIEW fid_history AS
SELECT runs.name AS run, runs.pipeline, scores.stage, scores.subject, scores.metric, scores.value,
       scores.images_seen, scores.samples, scores.seeds, scores.extractor, scores.extractor_hash,
       scores.resize, scores.codec, scores.reference, scores.reference_images, scores.time
FROM scores
JOIN runs ON runs.id = scores.run_id
ORDER BY scores.time, runs.id, scores.subject;

-- What failed, with the last attempt's own words, newest first.
CREATE VIEW failed_stages AS
SELECT runs.name AS run, stages.name AS stage, stages.kind, attempts.number AS attempt,
       attempts.exit, attempts.error, stages.ended
FROM stages
JOIN runs ON runs.id = stages.run_id
LEFT JOIN attempts ON attempts.run_id = stages.run_id AND attempts.stage = stages.name
    AND attempts.number = (
        SELECT MAX(number) FROM attempts AS others
        WHERE others.run_id = stages.run_id AND others.stage = stages.name)
WHERE stages.status = 'failed'
ORDER BY stages.ended DESC;

-- One line a run, newest first.
CREATE VIEW run_summary AS
SELECT runs.id, runs.name AS run, runs.pipeline, runs.status, runs.started, runs.ended,
       (julianday(runs.ended) - julianday(runs.started)) * 86400.0 AS seconds,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id) AS stages,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'succeeded') AS succeeded,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'cached') AS cached,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'failed') AS failed,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'interrupted') AS interrupted,
       (SELECT metric FROM scores WHERE run_id = runs.id AND images_seen IS NOT NULL
        ORDER BY images_seen DESC, stage, subject LIMIT 1) AS metric,
       (SELECT value FROM scores WHERE run_id = runs.id AND images_seen IS NOT NULL
        ORDER BY images_seen DESC, stage, subject LIMIT 1) AS value
FROM runs
ORDER BY runs.id DESC;
