-- name: blast-radius
-- title: What is affected if a key, a user, a model or a route was compromised
-- answers: Q22
-- clause: GDPR Art. 33
-- param: key text = null  Only this API key, by its id k:…
-- param: model text = null  Only this model, asked for or returned
-- param: route text = null  Only this route
-- param: user text = null  Only this user, as the application names them
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT api_key_id, model, route, count(*) AS requests, count(DISTINCT subject_ref) AS subjects,
       count(DISTINCT session_id) AS sessions, min(seq) AS first_seq, max(seq) AS last_seq, min(timestamp) AS first_time,
       max(timestamp) AS last_time
FROM inferences
WHERE timestamp >= $since AND timestamp < $until AND ($key IS NULL OR api_key_id = $key) AND ($model IS NULL OR model = shown($model) OR model_returned = shown($model))
  AND ($route IS NULL OR route = shown($route)) AND ($user IS NULL OR subject_ref = subject($user))
GROUP BY api_key_id, model, route
ORDER BY requests DESC, api_key_id, model, route
