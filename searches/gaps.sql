-- name: gaps
-- title: Requests that passed without a record, and why
-- answers: Q05
-- clause: PCI DSS 10.7.3
-- clause: DORA RTS 2024/1774 Art. 12(2)(e)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, source_id, route, json_get(detail, 'cause') AS cause,
       CAST(json_get(detail, 'count') AS BIGINT) AS requests, json_get(detail, 'from') AS from_time,
       json_get(detail, 'to') AS to_time
FROM events
WHERE event_type = 'gap' AND timestamp >= $since AND timestamp < $until
ORDER BY seq
