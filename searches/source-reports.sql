-- name: source-reports
-- title: How many frames were taken in from each source, and how many entries came of them
-- answers: Q06
-- ledger: operations
-- clause: DORA RTS 2024/1774 Art. 12(2)(e)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT source_id, source_incarnation, min(timestamp) AS first_time, max(timestamp) AS last_time,
       sum(CAST(json_get(detail, 'frames') AS BIGINT)) AS frames, sum(CAST(json_get(detail, 'entries') AS BIGINT)) AS entries,
       max(source_seq) AS last_frame
FROM events
WHERE event_type = 'source_report' AND timestamp >= $since AND timestamp < $until
GROUP BY source_id, source_incarnation
ORDER BY source_id, first_time
