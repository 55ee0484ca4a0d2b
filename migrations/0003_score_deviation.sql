-- How far a score can be trusted, and whose reference it stands against.

ALTER TABLE scores ADD COLUMN deviation REAL;               -- standard deviation, where it was estimated
ALTER TABLE scores ADD COLUMN reference_foreign INTEGER NOT NULL DEFAULT 0
    CHECK (reference_foreign IN (0, 1));                    -- the reference was made elsewhere

DROP VIEW fid_history;
CREATE VIEW fid_history AS
SELECT runs.name AS run, runs.pipeline, scores.stage, scores.subject, scores.metric, scores.value,
       scores.deviation, scores.images_seen, scores.samples, scores.seeds, scores.extractor,
       scores.extractor_hash, scores.resize, scores.codec, scores.reference, scores.reference_images,
       scores.reference_foreign, scores.time
FROM scores
JOIN runs ON runs.id = scores.run_id
ORDER BY scores.time, runs.id, scores.subject;

-- The score of a run is its Fréchet distance: plain FID before that of other features.
DROP VIEW run_summary;
CREATE VIEW run_summary AS
SELECT runs.id, runs.name AS run, runs.pipeline, runs.status, runs.started, runs.ended,
       (julianday(runs.ended) - julianday(runs.started)) * 86400.0 AS seconds,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id) AS stages,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'succeeded') AS succeeded,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'cached') AS cached,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'failed') AS failed,
       (SELECT COUNT(*) FROM stages WHERE run_id = runs.id AND status = 'interrupted') AS interrupted,
       (SELECT metric FROM scores WHERE run_id = runs.id AND images_seen IS NOT NULL
        ORDER BY images_seen DESC, stage, subject, metric = 'fid' DESC,
                 metric IN ('fid_torch', 'fid_clean') DESC,
                 metric GLOB 'fd_*' AND metric NOT GLOB 'fd_crop_*' AND metric NOT GLOB 'fd_infinity_*' DESC,
                 metric LIMIT 1) AS metric,
       (SELECT value FROM scores WHERE run_id = runs.id AND images_seen IS NOT NULL
        ORDER BY images_seen DESC, stage, subject, metric = 'fid' DESC,
                 metric IN ('fid_torch', 'fid_clean') DESC,
                 metric GLOB 'fd_*' AND metric NOT GLOB 'fd_crop_*' AND metric NOT GLOB 'fd_infinity_*' DESC,
                 metric LIMIT 1) AS value
FROM runs
ORDER BY runs.id DESC;
