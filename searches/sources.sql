-- name: sources
-- title: When sources came up and went down, with which program and configuration
-- answers: Q05, Q09
-- ledger: operations
-- clause: PCI DSS 10.2.1.6
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_type, source_id, source_incarnation, app_version, json_get(detail, 'configuration') AS configuration,
       json_get(detail, 'api_keys') AS api_keys
FROM events
WHERE event_type IN ('source_started', 'source_stopped') AND timestamp >= $since AND timestamp < $until
ORDER BY seq
