-- name: latency-by-hour
-- title: Requests, error rate and latency over time
-- param: model text = null  Only this model
-- param: since time = -7d  Not before
-- param: until time = now  Before
SELECT date_bin(INTERVAL '1 hour', timestamp) AS hour, count(*) AS requests, error_rate(status) AS error_rate,
       p50(latency_ms) AS p50_ms, p95(latency_ms) AS p95_ms, p99(latency_ms) AS p99_ms
FROM inferences
WHERE ($model IS NULL OR model = shown($model)) AND timestamp >= $since AND timestamp < $until
GROUP BY hour
ORDER BY hour
