-- name: record
-- title: What answered one request: model, version, parameters, application, cost
-- answers: Q01
-- clause: EU AI Act Art. 12(1)
-- clause: EU AI Act Art. 86
-- param: id text  Event id, or request id
SELECT seq, timestamp, event_id, request_id, event_type, status, http_status, error_type, finish_reason,
       provider, model, model_returned, model_checksum, system_fingerprint, params, route, region, app_version, environment,
       subject_ref, session_id, api_key_id, input_bytes, output_bytes, prompt_tokens, completion_tokens, cost_usd, price_ref
FROM events
WHERE event_id = $id OR request_id = shown($id)
ORDER BY seq
