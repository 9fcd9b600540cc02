-- name: largest-sessions
-- title: The longest and dearest conversations
-- param: size int = 20  How many
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT session_id, requests, subjects, models, prompt_tokens, completion_tokens, cost_usd, failed, first_time, last_time
FROM sessions
WHERE last_time >= $since AND first_time < $until
ORDER BY requests DESC, session_id
LIMIT $size
