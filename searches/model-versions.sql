-- name: model-versions
-- title: First and last use of each version of each model
-- answers: Q16
-- clause: EU AI Act Art. 12(2)(a)
-- clause: NIST AI 600-1 App. A.1.8
-- param: model text = null  Only this model, asked for or returned
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT provider, model, model_returned, model_checksum, system_fingerprint, min(timestamp) AS first_time,
       max(timestamp) AS last_time, count(*) AS requests
FROM inferences
WHERE model IS NOT NULL AND ($model IS NULL OR model = shown($model) OR model_returned = shown($model)) AND timestamp >= $since AND timestamp < $until
GROUP BY provider, model, model_returned, model_checksum, system_fingerprint
ORDER BY first_time, model, model_returned, system_fingerprint
