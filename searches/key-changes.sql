-- name: key-changes
-- title: When the ledger's key changed, who changed it, and what both keys signed
-- answers: Q09
-- clause: ISO/IEC 27001 A.8.24
-- param: since time = 1970-01-01  Not before
-- param: until time = now  Before
SELECT seq, timestamp, actor_id, actor_kind, json_get(detail, 'note') AS note
FROM events
WHERE event_type = 'key_rotated' AND timestamp >= $since AND timestamp < $until
ORDER BY seq
