-- name: interrupted
-- title: Requests that a stopped source left open, closed with what survived
-- answers: Q05
-- clause: EU AI Act Art. 12(1)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_id, source_id, route, model, session_id, input_bytes, output_bytes, output_partial
FROM inferences
WHERE status = 'interrupted' AND timestamp >= $since AND timestamp < $until
ORDER BY seq
