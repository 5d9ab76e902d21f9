"""What can go wrong with a model service, in words that say whose turn it is: the service's or the operator's."""

from core.errors import Forbidden, Invalid, QuotaExceeded, Unavailable


class ProviderUnavailable(Unavailable):
    """The model service did not answer; try again shortly, or configure a second provider."""


class ProviderTimedOut(ProviderUnavailable):
    """The model service took too long to answer; try again shortly, or raise its timeout."""


class ProviderBusy(ProviderUnavailable):
    """The model service asks for fewer requests; try again in a minute, or raise the limit of its account."""


class BrokenReply(ProviderUnavailable):
    """The model service sent a reply that can't be read; try again, and check that its base URL speaks OpenAI's API."""


class KeyRefused(Forbidden):
    """The model service refused the API key; check the configured key and what its account may use."""


class CreditSpent(QuotaExceeded):
    """The account at the model service has no credit left; top it up or configure another provider."""


class RequestRejected(Invalid):
    """The model service can't use this request; check the model's name, its options and the length of the text."""


class ModelUnknown(RequestRejected):
    """The model service has no such model or address; check the configured model and base URL."""
