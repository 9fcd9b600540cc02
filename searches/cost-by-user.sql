-- name: cost-by-user
-- title: Tokens and cost of each user, by pseudonym
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT subject_ref, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
       sum(prompt_tokens) + sum(completion_tokens) AS tokens, sum(cost_usd) AS cost_usd,
       count(*) FILTER (WHERE NOT priced) AS without_cost
FROM costs
WHERE timestamp >= $since AND timestamp < $until
GROUP BY subject_ref
ORDER BY cost_usd DESC NULLS LAST, tokens DESC NULLS LAST, subject_ref
