-- name: population
-- title: A population, entry by entry in order, so that the same question has the same bytes again
-- answers: Q24
-- clause: SOC 2 (completeness and accuracy of populations)
-- clause: ISO/IEC 27037
-- param: since time  Not before
-- param: until time  Before
-- param: type text = llm_request  Only this type of event
SELECT seq, timestamp, event_id, event_type, entry
FROM events
WHERE timestamp >= $since AND timestamp < $until AND ($type IS NULL OR event_type = $type)
ORDER BY seq
