-- name: usage-by-key-and-route
-- title: Who uses what: every key, route and model, and when for the first and last time
-- answers: Q27
-- clause: EU AI Act Art. 12(2)(c)
-- clause: EU AI Act Art. 26(5)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT api_key_id, route, model, environment, count(*) AS requests, count(DISTINCT subject_ref) AS subjects,
       min(timestamp) AS first_time, max(timestamp) AS last_time
FROM inferences
WHERE timestamp >= $since AND timestamp < $until
GROUP BY api_key_id, route, model, environment
ORDER BY first_time DESC, api_key_id, route, model, environment
