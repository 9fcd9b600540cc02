//! Views that make the usual questions short. `docs/query.md` lists their columns.

/// Name and SQL of each.
pub(super) const VIEWS: [(&str, &str); 4] = [
    ("inferences", "SELECT * FROM events WHERE event_type IN ('llm_request', 'embedding', 'request')"),
    (
        "sessions",
        "SELECT session_id, \
                min(timestamp) AS first_time, max(timestamp) AS last_time, \
                count(*) AS requests, count(DISTINCT subject_ref) AS subjects, count(DISTINCT model) AS models, \
                sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, \
                sum(cost_usd) AS cost_usd, \
                count(*) FILTER (WHERE status IN ('upstream_error', 'timeout', 'interrupted')) AS failed, \
                min(seq) AS first_seq, max(seq) AS last_seq \
         FROM inferences WHERE session_id IS NOT NULL GROUP BY session_id",
    ),
    (
        "costs",
        "SELECT seq, timestamp, date_trunc('day', timestamp) AS day, event_id, provider, model, model_returned, route, \
                api_key_id, subject_ref, session_id, environment, status, prompt_tokens, completion_tokens, \
                cached_tokens, reasoning_tokens, usage_source, cost_usd, price_ref, cost_usd IS NOT NULL AS priced \
         FROM inferences WHERE model IS NOT NULL",
    ),
    (
        "tool_calls",
        "SELECT seq, timestamp, event_id, session_id, subject_ref, api_key_id, trace_id, parent_event_id, route, model, \
                unnest(json_list(detail, 'tool_calls')) AS tool \
         FROM inferences WHERE detail IS NOT NULL",
    ),
];
