-- name: source-delays
-- title: How far the clock of each source is from the collector's, transport included
-- answers: Q23
-- clause: ISO/IEC 27001 A.8.17
-- clause: PCI DSS 10.6.1
-- clause: DORA RTS 2024/1774 Art. 12(2)(f)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT source_id, count(*) AS entries,
       p50(CAST(CAST(timestamp AS BIGINT) - CAST(source_time AS BIGINT) AS DOUBLE) / 1000) AS p50_ms,
       p99(CAST(CAST(timestamp AS BIGINT) - CAST(source_time AS BIGINT) AS DOUBLE) / 1000) AS p99_ms,
       min(CAST(timestamp AS BIGINT) - CAST(source_time AS BIGINT)) / 1000 AS min_ms,
       max(CAST(timestamp AS BIGINT) - CAST(source_time AS BIGINT)) / 1000 AS max_ms
FROM events
WHERE source_time IS NOT NULL AND timestamp >= $since AND timestamp < $until
GROUP BY source_id
ORDER BY source_id
