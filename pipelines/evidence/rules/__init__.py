"""Claims by rules (L1): what can be read from a session's words without a model."""

from pipelines.evidence.rules.propose import RULES_VERSION, propose_by_rules

__all__ = ["RULES_VERSION", "propose_by_rules"]
