-- name: errors-by-model
-- title: Error rate and latency of each model
-- clause: EU AI Act Art. 12(2)(b)
-- clause: ISO/IEC 42001 A.6.2.6
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT provider, model, count(*) AS requests, error_rate(status) AS error_rate,
       count(*) FILTER (WHERE status = 'cancelled') AS cancelled, p50(latency_ms) AS p50_ms, p95(latency_ms) AS p95_ms,
       p99(latency_ms) AS p99_ms, p50(ttft_ms) AS p50_ttft_ms, p95(ttft_ms) AS p95_ttft_ms
FROM inferences
WHERE model IS NOT NULL AND timestamp >= $since AND timestamp < $until
GROUP BY provider, model
ORDER BY requests DESC, provider, model
