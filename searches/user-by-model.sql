-- name: user-by-model
-- title: Which models processed data of one user, and how often; no row means none did
-- answers: Q26
-- clause: GDPR Art. 15
-- param: user text  The user, as the application names them
-- param: model text = null  Only this model, asked for or returned
-- param: since time = 1970-01-01  Not before
-- param: until time = now  Before
SELECT model, model_returned, provider, count(*) AS requests, min(timestamp) AS first_time, max(timestamp) AS last_time
FROM inferences
WHERE subject_ref = subject($user) AND ($model IS NULL OR model = shown($model) OR model_returned = shown($model)) AND timestamp >= $since AND timestamp < $until
GROUP BY model, model_returned, provider
ORDER BY requests DESC, model, model_returned, provider
