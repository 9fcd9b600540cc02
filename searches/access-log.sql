-- name: access-log
-- title: Who looked at records or took them away, how, when, and how many
-- answers: Q04, Q07
-- ledger: operations
-- clause: PCI DSS 10.2.1.3
-- clause: ISO/IEC 27001 A.8.15
-- clause: NIST SP 800-53 AU-12(4)
-- param: actor text = null  Only this actor
-- param: resource text = null  Only looks at this record, by the id that was asked for
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT seq, timestamp, event_type, actor_id, actor_kind, action, resource_type, resource_id,
       CAST(coalesce(json_get(detail, 'results'), json_get(detail, 'records')) AS BIGINT) AS results
FROM events
WHERE event_type IN ('access', 'export', 'drill') AND timestamp >= $since AND timestamp < $until
  AND ($actor IS NULL OR actor_id = shown($actor)) AND ($resource IS NULL OR resource_id = shown($resource))
ORDER BY seq
