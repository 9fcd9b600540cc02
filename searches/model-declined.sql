-- name: model-declined
-- title: Answers in which the model declined to answer
-- answers: Q17
-- clause: EU AI Act Art. 12(2)(b)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_id, model, subject_ref, session_id, finish_reason
FROM inferences
WHERE json_get(detail, 'refused') = 'true' AND timestamp >= $since AND timestamp < $until
ORDER BY seq
