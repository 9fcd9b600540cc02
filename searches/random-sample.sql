-- name: random-sample
-- title: A sample of a population; the same seed draws the same one
-- answers: Q25
-- clause: SOC 2 (completeness and accuracy of populations)
-- param: size int = 25  How many
-- param: seed int  Any number; note it with the sample
-- param: since time  Not before
-- param: until time  Before
WITH population AS (
    SELECT seq, timestamp, event_id, model, status, subject_ref, session_id,
           (seq % 2147483647 * 48271 + $seed % 2147483647 * 69621) % 2147483647 AS mixed
    FROM inferences
    WHERE timestamp >= $since AND timestamp < $until
)
SELECT seq, timestamp, event_id, model, status, subject_ref, session_id
FROM population
ORDER BY (mixed * mixed % 2147483647 * 48271 + $seed % 2147483647) % 2147483647, seq
LIMIT $size
