"""Every route that serves words notes who read them, or stands here with the reason why not; a new one can't forget."""

from typing import Any

import pytest

from api.app import create_app
from core.settings import Settings

WORDS = {
    "after", "answer", "answer_after", "answer_before", "answers", "before", "body", "body_after", "body_before",
    "comment", "content", "contexts", "exact", "feedback", "feedback_text", "first_words", "improvements", "item",
    "notes", "prefix", "proposed_text", "quote", "question", "reference_contexts", "statement", "suffix", "text",
    "topic", "user_input",
}  # fmt: skip
"""Names under which responses carry what people said or wrote, or what was made of it."""

RECORDED = {
    "askInChatSession", "compareEvaluation", "confirmCaseProposal", "createChatCompletion", "getCaseProposal",
    "getClaim",
    "getCoachingSession", "getDocument", "getEvidencePack", "getInsight", "getPattern", "getSessionFeedback",
    "getSubmission", "getTranscript", "listChatMessages", "listClaims", "listClientCommitments", "listCoachingSessions",
    "listEvaluationCases", "listInsightReviews", "listInsights", "listPatterns", "listSessionNotes", "listSubmissions",
    "makeEvidencePack", "readEvaluationReport", "rejectCaseProposal", "search",
    "openShare", "listCorrections", "getCorrection", "downloadDataExport", "getSpeakers", "saySpeakers",
}  # fmt: skip
"""Operations whose every call with something to read leaves an entry (tests/api/test_readings.py calls each)."""

PUBLISHED = "published by its author to all it is shown to, and shown as anything published is"
IN_THE_LOG = "answers with the row it changes, and the log tells of the change"
OWN = "what the caller wrote themself"
NO_WORDS = "no words of a session, a document or an answer: figures, names of topics, settings"
EXEMPT = {
    **dict.fromkeys(
        (
            "listArticles", "createArticle", "getArticle", "editArticle", "listTestimonials", "listCommentsToModerate",
            "editComment", "moderateComment", "listFaqs", "createFaq", "getFaq", "editFaq", "voteFaqHelpful",
            "takeFaqVoteBack", "listPosts", "createPost", "getPost", "editPost", "listComments", "addComment",
            "featurePost", "moderatePost", "getQuestions",
        ),
        PUBLISHED,
    ),
    **dict.fromkeys(
        (
            "acceptInsight", "editInsight", "rejectInsight", "addActionItems", "markActionItem", "bookSession",
            "cancelSession", "completeSession", "confirmSession", "setMeeting", "missSession", "rescheduleSession",
            "startSession", "gradeSubmission", "returnSubmission", "handInAttempt", "startAttempt", "setFeedbackPublic",
            "applyCorrection",
            "refuseCorrection",
        ),
        IN_THE_LOG,
    ),
    **dict.fromkeys(
        (
            "giveFeedback", "listFeedback", "giveSessionFeedback", "writeSessionNote", "sendMessage",
            "listCaseProposals", "listEvidencePacks", "requestCorrection",
        ),
        OWN,
    ),
    **dict.fromkeys(("listEvaluations", "getEvaluation", "listOutbox", "listWebhookDeliveries"), NO_WORDS),
    **dict.fromkeys(
        ("listConversations", "listConversationMessages", "getMessage"),
        "between the two who write to each other; the store shows it to nobody else",
    ),
    **dict.fromkeys(
        ("listQaReviews", "addQaReview", "updateQaReview"),
        "a judgement of a coach's work, by points, no session's words"
    ),
    **dict.fromkeys(
        ("listOrders", "placeOrder", "getOrder", "cancelOrder", "deliverOrder", "shipOrder"),
        "what a buyer asked for with an order",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def described(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = create_app(settings).openapi()
    return found


def list_fields(described: dict[str, Any], schema: dict[str, Any], seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of all fields of a schema, at any depth."""
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    if name:
        if name in seen:
            return set()
        return list_fields(described, described["components"]["schemas"][name], seen | {name})
    parts = [*schema.get("anyOf", []), *schema.get("allOf", []), *schema.get("oneOf", [])]
    parts += [schema[inner] for inner in ("items", "additionalProperties") if isinstance(schema.get(inner), dict)]
    properties = schema.get("properties", {})
    found = set(properties)
    for part in (*parts, *properties.values()):
        found |= list_fields(described, part, seen)
    return found


def serves_words(described: dict[str, Any], operation: dict[str, Any]) -> bool:
    """Tell whether an answer may hold words: a field is called so, or it is no JSON and can hold anything."""
    for status, response in operation["responses"].items():
        for media, content in response.get("content", {}).items():
            if status.startswith("2") and (
                media != "application/json" or list_fields(described, content.get("schema", {})) & WORDS
            ):
                return True
    return False


def test_every_route_that_serves_words_is_recorded_or_says_why_not(described: dict[str, Any]) -> None:
    operations = [operation for methods in described["paths"].values() for operation in methods.values()]
    serving = {one["operationId"] for one in operations if serves_words(described, one)}
    assert serving - RECORDED - set(EXEMPT) == set(), "call domain.reading.record_reading there, or say why not"
    assert (RECORDED | set(EXEMPT)) - serving == set()
    assert not RECORDED & set(EXEMPT)


def test_a_route_made_later_is_found(described: dict[str, Any]) -> None:
    for schema in (
        {"$ref": "#/components/schemas/CitationOut"},
        {"type": "object", "properties": {"pages": {"type": "array", "items": {"properties": {"exact": {}}}}}},
        {"anyOf": [{"type": "null"}, {"additionalProperties": {"properties": {"text": {}}}}]},
    ):
        assert serves_words(described, {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}})
    assert serves_words(described, {"responses": {"200": {"content": {"application/zip": {}}}}})
    assert not serves_words(described, {"responses": {"404": {"content": {"application/problem+json": {}}}}})
