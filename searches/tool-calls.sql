-- name: tool-calls
-- title: Which tools models called, in which session and for whom
-- answers: Q18
-- clause: EU AI Act Art. 12(1)
-- clause: OWASP LLM Top 10 2025 LLM06
-- param: session text = null  Only this session
-- param: tool text = null  Only this tool
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_id, session_id, subject_ref, api_key_id, model, tool
FROM tool_calls
WHERE timestamp >= $since AND timestamp < $until AND ($session IS NULL OR session_id = shown($session)) AND ($tool IS NULL OR tool = shown($tool))
ORDER BY seq
