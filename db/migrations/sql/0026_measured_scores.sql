-- name: read_scores
-- Which answer of a run is of which case and how it ended, without a word of it: its scores stand in rag_metrics.
CREATE FUNCTION evaluation.read_scores(experiment uuid)
RETURNS TABLE (
    evaluation_id uuid, case_id uuid, case_key text, repeat integer, status text, slices jsonb, unjudged text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.id, c.id, c.case_key, e.repeat, e.status, c.slices - 'user', ARRAY(
        SELECT jsonb_object_keys(e.details -> 'judge_errors') WHERE jsonb_typeof(e.details -> 'judge_errors') = 'object')
    FROM evaluation.rag_evaluations e
    JOIN evaluation.dataset_cases c ON c.tenant_id = e.tenant_id AND c.id = e.case_id
    WHERE e.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND e.experiment_id = experiment
      AND (SELECT current_setting('app.role')) IN ('evaluator', 'admin', 'system')
$$

-- name: count_answers
CREATE FUNCTION evaluation.count_answers(experiment uuid) RETURNS TABLE (answers bigint, failed bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), count(*) FILTER (WHERE e.status = 'failed') FROM evaluation.rag_evaluations e
    WHERE e.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND e.experiment_id = experiment
      AND (SELECT current_setting('app.role')) IN ('evaluator', 'admin', 'system')
$$

-- name: count_cases
-- How many cases a dataset has, and how many in each slice: {"language": {"en": 12, "de": 3}}, the commonest values.
CREATE FUNCTION evaluation.count_cases(dataset uuid, most_values integer)
RETURNS TABLE (cases bigint, answerable bigint, slices jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH chosen AS (
        SELECT c.answerable, c.slices - 'user' AS slices FROM evaluation.dataset_cases c
        WHERE c.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND c.dataset_id = dataset
          AND (SELECT current_setting('app.role')) IN ('evaluator', 'admin', 'system')),
    counted AS (
        SELECT s.key, s.value, count(*) AS times,
               row_number() OVER (PARTITION BY s.key ORDER BY count(*) DESC, s.value) AS place
        FROM chosen CROSS JOIN LATERAL jsonb_each_text(chosen.slices) s GROUP BY s.key, s.value),
    grouped AS (
        SELECT key, jsonb_object_agg(value, times) AS found FROM counted WHERE place <= most_values GROUP BY key)
    SELECT count(*), count(*) FILTER (WHERE chosen.answerable),
           coalesce((SELECT jsonb_object_agg(key, found) FROM grouped), '{}')
    FROM chosen
$$
