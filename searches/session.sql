-- name: session
-- title: One conversation in order
-- answers: Q03, Q18
-- clause: EU AI Act Art. 12(1)
-- param: session text  The session
SELECT seq, timestamp, event_id, event_type, model, status, finish_reason, prompt_tokens, completion_tokens, latency_ms,
       json_list(detail, 'tool_calls') AS tool_calls
FROM inferences
WHERE session_id = shown($session)
ORDER BY seq
