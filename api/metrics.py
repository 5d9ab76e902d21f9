"""What is counted while the API serves, for Prometheus; labels are bounded: route templates, never paths or ids."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY: Final = CollectorRegistry()
"""Our own, so that an app made twice in one process counts once and libraries add nothing."""

REQUESTS: Final = Counter("regenesis_requests", "Requests answered", ["method", "route", "status"], registry=REGISTRY)
LATENCY: Final = Histogram(
    "regenesis_request_seconds", "Seconds to the first byte of the reply", ["method", "route"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24),
)  # fmt: skip
ANSWERS: Final = Counter("regenesis_answers", "Answers given", ["provider", "outcome"], registry=REGISTRY)
PROVIDER_FAILURES: Final = Counter(
    "regenesis_provider_failures", "Model services that failed", ["provider", "error"], registry=REGISTRY
)
