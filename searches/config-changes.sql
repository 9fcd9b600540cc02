-- name: config-changes
-- title: What running sources took up of changed configuration and keys
-- answers: Q09
-- ledger: operations
-- clause: EU AI Act Art. 12(2)(a)
-- clause: NIST SP 800-53 AU-12(3)
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, source_id, json_get(detail, 'file') AS file, json_get(detail, 'before') AS before,
       json_get(detail, 'after') AS after, json_list(detail, 'changed') AS changed, json_list(detail, 'pending') AS pending
FROM events
WHERE event_type = 'config_changed' AND timestamp >= $since AND timestamp < $until
ORDER BY seq
