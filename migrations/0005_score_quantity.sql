-- What kind of number a score is, and which way is better: recorded with each score, so that nobody has to know the
-- metrics' names. Of earlier scores the names tell it.

ALTER TABLE scores ADD COLUMN quantity TEXT NOT NULL DEFAULT 'frechet-distance';   -- kernel-distance, precision, ...
ALTER TABLE scores ADD COLUMN higher_is_better INTEGER NOT NULL DEFAULT 0 CHECK (higher_is_better IN (0, 1));

UPDATE scores SET quantity = CASE
    WHEN metric GLOB 'kid*' OR metric GLOB 'kd_*' THEN 'kernel-distance'
    WHEN metric GLOB 'precision*' THEN 'precision'
    WHEN metric GLOB 'recall*' THEN 'recall'
    WHEN metric GLOB 'density*' THEN 'density'
    WHEN metric GLOB 'coverage*' THEN 'coverage'
    WHEN metric GLOB 'sfid*' OR metric GLOB 'sfd_*' THEN 'frechet-distance-spatial'
    WHEN metric GLOB 'fid_infinity*' OR metric GLOB 'fd_infinity*' THEN 'frechet-distance-infinity'
    WHEN metric GLOB 'fid_crop_half*' OR metric GLOB 'fd_crop_half*' THEN 'frechet-distance-crop-half'
    WHEN metric GLOB 'fid_crop_quarter*' OR metric GLOB 'fd_crop_quarter*' THEN 'frechet-distance-crop-quarter'
    ELSE 'frechet-distance'
END;
UPDATE scores SET higher_is_better = quantity IN ('precision', 'recall', 'density', 'coverage');

DROP VIEW fid_history;
CREATE VIEW fid_history AS
SELECT runs.name AS run, runs.pipeline, scores.stage, scores.subject, scores.metric, scores.quantity,
       scores.higher_is_better, scores.value, scores.deviation, scores.images_seen, scores.samples, scores.seeds,
       scores.extractor, scores.extractor_hash, scores.resize, scores.codec, scores.reference, scores.reference_images,
       scores.reference_foreign, scores.time
FROM scores
JOIN runs ON runs.id = scores.run_id
ORDER BY scores.time, runs.id, scores.subject;
