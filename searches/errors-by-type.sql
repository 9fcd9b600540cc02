-- name: errors-by-type
-- title: What failed, by kind of failure
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT status, error_type, http_status, json_get(detail, 'provider_error') AS provider_error, count(*) AS requests,
       min(timestamp) AS first_time, max(timestamp) AS last_time
FROM inferences
WHERE status <> 'completed' AND timestamp >= $since AND timestamp < $until
GROUP BY status, error_type, http_status, provider_error
ORDER BY requests DESC, status, error_type, http_status, provider_error
