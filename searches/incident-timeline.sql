-- name: incident-timeline
-- title: All that did not go well in a period, in order: failures, refusals, gaps, interruptions
-- answers: Q28
-- clause: EU AI Act Art. 73
-- clause: DORA Art. 17
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_type, status, error_type, http_status, route, model, source_id, event_id,
       coalesce(json_get(detail, 'cause'), json_get(detail, 'provider_error')) AS cause
FROM events
WHERE timestamp >= $since AND timestamp < $until AND (event_type IN ('gap', 'rejections', 'conflict') OR (status IS NOT NULL AND status <> 'completed'))
ORDER BY seq
