-- name: refusals-counted
-- title: Refused requests that have no entry each, as they were counted
-- answers: Q17
-- clause: PCI DSS 10.2.1.4
-- clause: OWASP ASVS 5.0 16.3
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, source_id, CAST(json_get(detail, 'count') AS BIGINT) AS requests, json_get(detail, 'reasons') AS reasons,
       json_get(detail, 'from') AS from_time, json_get(detail, 'to') AS to_time
FROM events
WHERE event_type = 'rejections' AND timestamp >= $since AND timestamp < $until
ORDER BY seq
