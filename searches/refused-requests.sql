-- name: refused-requests
-- title: Requests that the gateway turned away, by reason
-- answers: Q17
-- clause: PCI DSS 10.2.1.4
-- clause: OWASP ASVS 5.0 16.3
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT error_type, count(*) AS requests, count(DISTINCT api_key_id) AS keys, min(timestamp) AS first_time,
       max(timestamp) AS last_time
FROM inferences
WHERE status = 'rejected' AND timestamp >= $since AND timestamp < $until
GROUP BY error_type
ORDER BY requests DESC, error_type
