-- name: unpriced-models
-- title: Calls that no price was found for, by model
-- param: since time = -30d  Not before
-- param: until time = now  Before
SELECT provider, model, model_returned, route, usage_source, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens
FROM costs
WHERE NOT priced AND status = 'completed' AND timestamp >= $since AND timestamp < $until
GROUP BY provider, model, model_returned, route, usage_source
ORDER BY requests DESC, provider, model, model_returned, route, usage_source
