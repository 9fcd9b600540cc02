-- name: records-of-user
-- title: Everything recorded of one user, oldest first
-- answers: Q03
-- clause: GDPR Art. 15
-- param: user text  The user, as the application names them
-- param: since time = 1970-01-01  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_id, session_id, event_type, model, model_returned, status, input_bytes, output_bytes,
       prompt_tokens, completion_tokens, cost_usd
FROM inferences
WHERE subject_ref = subject($user) AND timestamp >= $since AND timestamp < $until
ORDER BY seq
