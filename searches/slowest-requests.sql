-- name: slowest-requests
-- title: The requests that took longest
-- param: size int = 20  How many
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_id, model, route, status, latency_ms, ttft_ms, prompt_tokens, completion_tokens
FROM inferences
WHERE latency_ms IS NOT NULL AND timestamp >= $since AND timestamp < $until
ORDER BY latency_ms DESC, seq
LIMIT $size
