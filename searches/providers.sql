-- name: providers
-- title: Which provider and region processed data of how many people
-- answers: Q19
-- clause: DORA Art. 28(3)
-- clause: GDPR Art. 30
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT provider, region, route, count(*) AS requests, count(DISTINCT subject_ref) AS subjects, sum(input_bytes) AS input_bytes,
       min(timestamp) AS first_time, max(timestamp) AS last_time
FROM inferences
WHERE timestamp >= $since AND timestamp < $until
GROUP BY provider, region, route
ORDER BY requests DESC, provider, region, route
