"""Makes a follow-up question stand on its own, by rule, or by a model where there is one."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from core.errors import AppError
from core.logging import get_logger
from rag.lexical import FUNCTION_WORDS
from rag.prompts import Prompt, build_rewrite_prompt
from rag.understand import Person
from rag.understand_sessions import find_session_phrase
from rag.understand_times import find_time_phrase

MAX_HISTORY: Final = 12
"""Messages of a conversation that a follow-up can refer to."""

_MAX_CARRIED: Final = 8
"""Words carried over: enough for a topic, too few to drown the new question."""

_MAX_TOPIC: Final = 40
_LONG: Final = 1_000
"""Characters of a question that says enough by itself."""

_ANAPHORA: Final = re.compile(
    r"\b(?:she|he|they|them|her|him|his|hers|their|theirs|it|its|that|this|those|these|there|then|same|either|"
    r"the (?:client|coachee|other))\b",
    re.IGNORECASE,
)
_PERSON: Final = re.compile(
    r"\b(?:she|he|they|them|her|him|his|hers|their|theirs|the (?:client|coachee))\b", re.IGNORECASE
)
_CONTINUES: Final = re.compile(
    r"^\s*(?:and|but|so|or|also|what about|how about|what else|really|more)\b", re.IGNORECASE
)
_OPEN: Final = re.compile(
    r"\b(?:summar\w+|recap|overview|discuss\w*|talk(?:ed)? about|happen\w*|(?:main|key) points|topics)\b", re.IGNORECASE
)
_WIDENS: Final = re.compile(
    r"\b(?:before|ever|earlier|elsewhere|always|any(?:where)? else|(?:other|all|any) sessions?)\b", re.IGNORECASE
)
_EMPTY: Final = FUNCTION_WORDS | frozenset(
    """
    about after again all also am any anything because before can could did does doing during each else ever every few
    how just know last like many me mean mention mentioned might more most much no not now off once only other out over
    own please really said same say says session sessions should since some something still such talk talked tell than
    the time too under until up us very want was what when where which while who whom whose why yes yet
    """.split()  # noqa: SIM905  # a list would take a page
)

_log = get_logger("rewrite")


def list_salient_words(text: str) -> list[str]:
    """Return the words that carry a topic, in order, each once."""
    words = re.findall(r"[^\W_][\w'’-]*", text)
    return list({word.lower(): word for word in words if word.lower() not in _EMPTY and len(word) > 1}.values())


def rewrite_by_rule(question: str, history: Sequence[tuple[str, str]], people: Sequence[Person]) -> str:
    """Return the question with what it leaves out, taken from the questions before it, in brackets behind it.

    Carries the person where it has a pronoun or none, the session or time where it has none, and the topic where
    it has hardly one of its own. A question that stands alone comes back unchanged.
    """
    questions = [text for role, text in history[-MAX_HISTORY:] if role == "user"]
    resolved = ""
    for asked in [*questions, question]:
        resolved = _carry_over(asked, resolved, people) if resolved else asked
    return resolved


def add_topic(question: str, history: Sequence[tuple[str, str]]) -> str:
    """Return what to search for: the question twice (for its meaning), with the words of the question before it.

    On MTRAG's 125 follow-ups recall@5 is 94 % with it and 90 % without.
    """
    before = next((text for role, text in reversed(history) if role == "user"), "")
    words = " ".join(list_salient_words(before)[:_MAX_TOPIC])
    return f"{question} {question} {words}" if words and len(question) <= _LONG else question


def _carry_over(question: str, before: str, people: Sequence[Person]) -> str:
    own_people = _list_people(question, people)
    topic = [word for word in list_salient_words(question) if not _is_name(word, people)]
    time_words = _time_words(question)
    topic = [word for word in topic if word.lower() not in " ".join(time_words).lower()]
    refers = bool(_ANAPHORA.search(question)) or bool(_CONTINUES.match(question))
    if not refers and (own_people or len(topic) >= 2):
        return question
    carried: list[str] = []
    if not own_people and (_PERSON.search(question) or len(topic) < 2 or refers):
        carried += _list_people(before, people)
    if not time_words and not _WIDENS.search(question) and (refers or len(topic) < 2):
        carried += _time_words(before)
    if len(topic) < 2 and not _OPEN.search(question):
        skipped = {word.lower() for word in list_salient_words(" ".join([*_time_words(before), *carried]))}
        carried += [
            word
            for word in list_salient_words(before)
            if word.lower() not in skipped and not _is_name(word, people) and word not in topic
        ][:_MAX_CARRIED]
    return f"{question} ({', '.join(carried)})" if carried else question


def _list_people(text: str, people: Sequence[Person]) -> list[str]:
    return [
        person.name
        for person in people
        if any(
            re.search(rf"\b{re.escape(part)}\b", text, re.IGNORECASE) for part in person.name.split() if len(part) > 1
        )
    ]


def _is_name(word: str, people: Sequence[Person]) -> bool:
    bare = re.sub(r"['’]s?$", "", word).lower()
    return any(bare in person.name.lower().split() for person in people)


def _time_words(text: str) -> list[str]:
    return [found for found in (find_session_phrase(text), find_time_phrase(text)) if found]


async def rewrite(
    question: str,
    history: Sequence[tuple[str, str]],
    people: Sequence[Person],
    ask_model: Callable[[Prompt], Awaitable[str]] | None = None,
) -> str:
    """Return the question as it stands alone; the model's version where one answers sensibly, else the rule's."""
    if not any(role == "user" for role, _ in history):
        return question
    by_rule = rewrite_by_rule(question, history, people)
    if ask_model is None:
        return by_rule
    try:
        written = (await ask_model(build_rewrite_prompt(question, history[-MAX_HISTORY:]))).strip().strip('"')
    except AppError as error:
        _log.warning("rewrite_fell_back", error=error.code)
        return by_rule
    return written if _is_sensible(written, question) else by_rule


def _is_sensible(written: str, question: str) -> bool:
    """Tell whether the model gave one line, a question of likely length that still speaks of what was asked."""
    if not written or "\n" in written or len(written) > 2 * len(question) + 300:
        return False
    asked = {word.lower() for word in list_salient_words(question) if not _ANAPHORA.fullmatch(word)}
    return not asked or bool(asked & {word.lower() for word in list_salient_words(written)})
