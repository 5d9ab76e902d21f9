-- What the store refuses of evidence, whoever writes it. After each name stands what the refusal says.

-- attack: a quote edited
-- refused: never changed
UPDATE evidence.quotes SET exact = 'I lie' || substr(exact, 6)

-- attack: a quote moved
-- refused: never changed
UPDATE evidence.quotes SET char_start = char_start + 1, char_end = char_end + 1

-- attack: a quote said by another
-- refused: never changed
UPDATE evidence.quotes SET speaker = 'coach'

-- attack: a quote widened
-- refused: of its source
UPDATE evidence.quotes SET visibility = 'client_visible' WHERE visibility <> 'client_visible'

-- attack: a claim reworded
-- refused: never changed
UPDATE evidence.claims SET statement = 'They are happy.'

-- attack: a claim widened
-- refused: another visibility or audience than all their parents
UPDATE evidence.claims SET visibility = 'client_visible' WHERE visibility <> 'client_visible'

-- attack: a claim about somebody else
-- refused: than all their parents
UPDATE evidence.claims SET client_id = :client_b

-- attack: a claim for the whole tenant
-- refused: than all their parents
UPDATE evidence.claims SET client_id = NULL

-- attack: a claim without a quote
-- refused: no supporting quote
INSERT INTO evidence.claims (tenant_id, transcript_id, claim_type, statement, modality, method, visibility, client_id,
    coach_id)
SELECT tenant_id, transcript_id, 'belief', 'x', 'inferred', 'attack', visibility, client_id, coach_id
FROM evidence.claims LIMIT 1

-- attack: a claim on an opposing quote
-- refused: no supporting quote
WITH made AS (INSERT INTO evidence.claims (tenant_id, transcript_id, claim_type, statement, modality, method,
    visibility, client_id, coach_id)
SELECT tenant_id, transcript_id, 'belief', 'x', 'inferred', 'attack', visibility, client_id, coach_id
FROM evidence.quotes WHERE exact = :rota LIMIT 1 RETURNING *)
INSERT INTO evidence.claim_quotes (tenant_id, claim_id, quote_id, role)
SELECT m.tenant_id, m.id, q.id, 'opposing'
FROM made m JOIN evidence.quotes q ON q.transcript_id = m.transcript_id AND q.exact = :rota

-- attack: a claim on another session's quote
-- refused: no supporting quote
WITH made AS (INSERT INTO evidence.claims (tenant_id, transcript_id, claim_type, statement, modality, method,
    visibility, client_id, coach_id)
SELECT tenant_id, transcript_id, 'belief', 'x', 'inferred', 'attack', visibility, client_id, coach_id
FROM evidence.quotes WHERE exact = :rota LIMIT 1 RETURNING *)
INSERT INTO evidence.claim_quotes (tenant_id, claim_id, quote_id, role)
SELECT m.tenant_id, m.id, q.id, 'supporting'
FROM made m JOIN evidence.quotes q ON q.transcript_id <> m.transcript_id AND q.exact = :rota

-- attack: a pattern widened
-- refused: than all their parents together allow
UPDATE evidence.patterns SET visibility = 'client_visible'

-- attack: a pattern about another
-- refused: than all their parents
UPDATE evidence.patterns SET client_id = :client_b

-- attack: a pattern on one session
-- refused: it needs two of two
WITH made AS (INSERT INTO evidence.patterns (tenant_id, kind, client_id, statement, sessions_in_scope,
    sessions_examined, sessions_supporting, method, visibility)
SELECT tenant_id, 'recurrence', client_id, 'x', 2, 2, 2, 'attack', 'coach_only'
FROM evidence.claims LIMIT 1 RETURNING *)
INSERT INTO evidence.pattern_claims (tenant_id, pattern_id, claim_id, role)
SELECT m.tenant_id, m.id, c.id, 'supporting'
FROM made m CROSS JOIN evidence.claims c WHERE c.transcript_id = :first

-- attack: a pattern on counter-evidence
-- refused: it needs two of two
WITH made AS (INSERT INTO evidence.patterns (tenant_id, kind, client_id, statement, sessions_in_scope,
    sessions_examined, sessions_supporting, method, visibility)
SELECT tenant_id, 'recurrence', client_id, 'x', 2, 2, 2, 'attack', 'coach_only'
FROM evidence.claims LIMIT 1 RETURNING *)
INSERT INTO evidence.pattern_claims (tenant_id, pattern_id, claim_id, role)
SELECT m.tenant_id, m.id, c.id, CASE WHEN c.transcript_id = :first THEN 'counter' ELSE 'supporting' END
FROM made m CROSS JOIN evidence.claims c

-- attack: a pattern that becomes another kind
-- refused: never changed
UPDATE evidence.patterns SET kind = 'contradiction'

-- attack: a quote detached
-- refused: keeps every quote
DELETE
FROM evidence.claim_quotes WHERE role = 'opposing'

-- attack: a claim detached
-- refused: keeps every claim
DELETE
FROM evidence.pattern_claims

-- attack: a role turned
-- refused: never changed
UPDATE evidence.claim_quotes SET role = 'supporting'

-- attack: a claim re-hung
-- refused: never changed
UPDATE evidence.pattern_claims SET claim_id = :promise

-- attack: an edge changed
-- refused: permission denied|never changed
UPDATE evidence.derivations SET role = 'counter'

-- attack: an edge cut
-- refused: permission denied|one of its ends
DELETE
FROM evidence.derivations WHERE child_pack_id IS NOT NULL

-- attack: an edge invented
-- refused: derived from its claims alone
INSERT INTO evidence.derivations (tenant_id, child_pattern_id, parent_claim_id, role)
SELECT tenant_id, id, :promise, 'supporting'
FROM evidence.patterns

-- attack: an edge of a claim invented
-- refused: derived from its quotes alone
INSERT INTO evidence.derivations (tenant_id, child_claim_id, parent_quote_id, role)
SELECT q.tenant_id, :promise, q.id, 'supporting'
FROM evidence.quotes q WHERE exact = :rota

-- attack: an insight widened
-- refused: accepted_before_client
UPDATE evidence.insights SET visibility = 'client_visible'

-- attack: an insight shared against its parents
-- refused: than all their parents
UPDATE evidence.insights SET visibility = 'client_visible', status = 'accepted', decided_at = now(), decided_by =
    :coach_a

-- attack: an insight from nothing
-- refused: derived from nothing
INSERT INTO evidence.insights (tenant_id, title, body, method, visibility, client_id)
SELECT tenant_id, 'x', 'x', 'attack', 'coach_only', client_id
FROM evidence.patterns

-- attack: an insight accepted from the start
-- refused: accepted once it is there
INSERT INTO evidence.insights (tenant_id, title, body, method, visibility, client_id, status, decided_at)
SELECT tenant_id, 'x', 'x', 'attack', 'coach_only', client_id, 'accepted', now()
FROM evidence.patterns

-- attack: an insight about another client
-- refused: about one client
WITH made AS (INSERT INTO evidence.insights (tenant_id, title, body, method, visibility, client_id)
SELECT tenant_id, 'x', 'x', 'attack', 'coach_only', :client_b
FROM evidence.patterns RETURNING *)
INSERT INTO evidence.derivations (tenant_id, child_insight_id, parent_pattern_id, role)
SELECT m.tenant_id, m.id, p.id, 'supporting'
FROM made m CROSS JOIN evidence.patterns p

-- attack: a pack rewritten
-- refused: never changed
UPDATE evidence.evidence_packs SET content = '{}'

-- attack: a pack given away
-- refused: never changed
UPDATE evidence.evidence_packs SET user_id = :client_a

-- attack: a pack opened
-- refused: than all their parents
UPDATE evidence.evidence_packs SET visibilities = '{}'

-- attack: a claim that settles itself
-- refused: settles a claim
UPDATE evidence.claims SET status = 'kept', superseded_by = id WHERE id = :promise

-- attack: a claim settled by an earlier one
-- refused: settles a claim
UPDATE evidence.claims SET status = 'kept', superseded_by = :promise WHERE transcript_id = :second
