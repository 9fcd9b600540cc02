-- name: errors-by-day
-- title: Error rate and latency of each day
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT date_trunc('day', timestamp) AS day, count(*) AS requests, error_rate(status) AS error_rate,
       count(*) FILTER (WHERE status = 'cancelled') AS cancelled, p50(latency_ms) AS p50_ms, p95(latency_ms) AS p95_ms,
       p99(latency_ms) AS p99_ms
FROM inferences
WHERE timestamp >= $since AND timestamp < $until
GROUP BY 1
ORDER BY day
