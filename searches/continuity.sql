-- name: continuity
-- title: Whether entry numbers have holes, day by day; indelible verify proves it
-- answers: Q06
-- clause: SOC 2 (completeness and accuracy of populations)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT date_trunc('day', timestamp) AS day, min(seq) AS first_seq, max(seq) AS last_seq, count(*) AS entries,
       max(seq) - min(seq) + 1 - count(*) AS not_of_this_day
FROM events
WHERE timestamp >= $since AND timestamp < $until
GROUP BY day
ORDER BY day
