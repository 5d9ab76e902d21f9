"""Claims proposed by a language model; the same gate decides about them as about those of the rules."""

from pipelines.evidence.model.forecast import Forecast, forecast
from pipelines.evidence.model.propose import MODEL_VERSION, ModelProposal, propose_by_model

__all__ = ["MODEL_VERSION", "Forecast", "ModelProposal", "forecast", "propose_by_model"]
