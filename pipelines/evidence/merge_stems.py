"""What a claim's words are about, so that two claims of the same thing know each other across tenses and forms.

Snowball stems as in `rag.lexical`, with what a stemmer cannot do added: irregular verbs ("told", "tell") and a few
families of verbs that people use for the same act ("hand over", "gave").
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Final

import Stemmer

from pipelines.evidence.records import SessionClaim
from rag.lexical import FUNCTION_WORDS, list_words

# base form and its irregular past forms; English has about 200, these are the ones of everyday talk
_IRREGULAR: Final = """
    become became|begin began begun|break broke broken|bring brought|build built|buy bought|catch caught|
    choose chose chosen|come came|cut cut|deal dealt|do did done does|draw drew drawn|drink drank drunk|
    drive drove driven|eat ate eaten|fall fell fallen|feel felt|fight fought|find found|fly flew flown|
    forget forgot forgotten|forgive forgave forgiven|give gave given|get got gotten|go went gone|grow grew grown|
    hang hung|have had|hear heard|hide hid hidden|hold held|keep kept|know knew known|lead led|leave left|
    lend lent|lie lay lain|lose lost|make made|mean meant|meet met|pay paid|read read|ride rode ridden|
    ring rang rung|rise rose risen|run ran|say said|see saw seen|sell sold|send sent|show shown|sing sang sung|
    sit sat|sleep slept|speak spoke spoken|spend spent|stand stood|steal stole stolen|swim swam swum|
    take took taken|teach taught|tell told|think thought|throw threw thrown|understand understood|
    wake woke woken|wear wore worn|win won|write wrote written
"""
_BASE: Final = {
    form: verbs[0] for verbs in (line.split() for line in " ".join(_IRREGULAR.split()).split("|")) for form in verbs
}

# acts that people name by several verbs; compared on top of the words themselves, never alone
_KIN: Final = (
    "tell talk speak say raise mention discuss ask bring inform",
    "call phone ring telephone",
    "hand give pass delegate transfer share send submit deliver",
    "watch observe sit attend visit",
    "start begin launch",
    "stop quit finish end drop cancel abandon",
    "finish complete close",
    "write draft compose",
    "apologise apologize sorry",
    "sign register enrol enroll book",
    "stay keep remain continue",
    "leave quit resign out exit off",
)

_NUMBERS: Final = frozenset(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen once twice
    """.split()  # noqa: SIM905 - a list would take 30 lines
)
# Words of talk that say nothing of what it is about; on top of rag.lexical's function words.
_EMPTY: Final = frozenset(
    """
    actually again all almost already also always am another any anybody anyhow anyone anything anyway around away back
    because become before being bit both bring came can can't cannot come could couldn't day days did didn't do does
    doesn't doing don't done down each either else even ever every everybody everyone everything exactly few first
    get gets getting give given go goes going gone gonna good got great guess had hadn't hasn't have haven't
    having he'd he'll he's hello here hers herself hi him himself his honestly how however i'd i'll inside instead
    isn't it'd it'll just keep kept kind know known last least less let let's lets like little long look looking lot
    lots made make makes making many may maybe mean might mine more most mostly much must myself need needn't
    never new next no nobody none nope not nothing now off often oh ok okay once one ones only or other others ours
    out over own part people perhaps person pretty put quite rather really right said same say saying says see
    seen seems several shall she'd she'll she's should shouldn't since some somebody someone something sometimes
    somewhere soon sort still stuff such sure take taken tell than thank thanks that'd that'll theirs themselves
    there's they'd they'll they're they've thing things think thought though three through time times today
    together told tomorrow too took try trying turn two um uh under until up use used very via want wanted wants
    wasn't way we'd we'll we're we've well went were weren't what what's whatever when where whether which while
    who who's whole why will won't would wouldn't yeah year years yep yes yesterday yet you'd you'll you're you've
    yours yourself about after against along though unless upon within without across among between during per
    half times week weeks month months hour hours minute minutes afternoon
    promise promised commit committed decide decided goal plan planned hope hoped feel felt feeling said ask asked
    mind change changed definitely wanna dunno work job alright basically obviously probably certainly honestly totally
    hard thanks glad happy fun awesome amazing cool love loved
    able bad big small better best worse worst hard easy nice fine true real life world
    """.split()  # noqa: SIM905 - a list would take 100 lines
)
_CALENDAR: Final = frozenset(
    """
    january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays sundays weekend weekends
    weekday weekdays easter christmas spring summer autumn fall winter morning mornings evening evenings night nights
    noon midnight tonight dinner lunch breakfast
    """.split()  # noqa: SIM905 - a list would take 40 lines
) - {"may", "march"}  # verbs far oftener than months once their capitals are gone

_ORDINAL: Final = re.compile(
    r"^(?:\d+(?:st|nd|rd|th)?|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|"
    r"\w+teenth|twentieth|thirtieth)$"
)
_QUOTED: Final = re.compile(r"[\"“”][^\"“”]*(?:[\"“”]|$)")
_NAME: Final = re.compile(r"(?<![.!?…\"“”:]\s)(?<!^)(?<=\s)(?:[A-Z][\w’'-]*[a-z][\w’'-]*)")
_NEGATION: Final = re.compile(
    r"\b(?:not|never|no|nobody|none|nothing|neither|nor|without|(?:do|does|did|is|was|were|are|have|has|had|ca|could|"
    r"wo|would|should|must|need)n[’']t|cannot|no longer|hardly|barely|failed to|forgot)\b",
    re.IGNORECASE,
)
_stemmer: Final = Stemmer.Stemmer("english", 0)
_stemming: Final = Lock()  # a stemmer is not safe to share between threads


@lru_cache(maxsize=2**16)
def stem(word: str) -> str:
    """Return the stem of a folded word, of an irregular verb that of its base form."""
    word = word.removesuffix("'s")
    with _stemming:
        found: str = _stemmer.stemWord(_BASE.get(word, word))
    return found


@lru_cache(maxsize=2**16)
def _content(word: str) -> str | None:
    """Return a content word's stem; None for a word that says nothing of the matter, and for one of the calendar."""
    word = word.removesuffix("'s")
    if word in FUNCTION_WORDS or word in _EMPTY or word in _CALENDAR or word in _NUMBERS or len(word) < 3:
        return None
    if word[0].isdigit() or _ORDINAL.match(word):
        return None
    found = stem(word)
    return None if found in _empty_stems() else found


@lru_cache(maxsize=1)
def _empty_stems() -> frozenset[str]:
    """Return the stems of the empty words, since "keeps" says no more than "keep" does."""
    return frozenset(stem(word) for word in _EMPTY)


_FAMILY: Final[dict[str, frozenset[str]]] = {}
for _line in _KIN:
    _stems = frozenset(stem(_word) for _word in _line.split())
    for _one in _stems:
        _FAMILY[_one] = _FAMILY.get(_one, frozenset()) | _stems


def is_empty(word: str) -> bool:
    """Tell whether a folded word says nothing of what is spoken about."""
    return _content(word) is None


@dataclass(frozen=True, slots=True)
class Wording:
    """What one claim's words carry; stems without those of empty words."""

    stems: frozenset[str]
    """Of its quotes and its subject."""
    told: frozenset[str]
    """Of its supporting quotes alone; the others come from what it answers."""
    names: frozenset[str]
    """Stems of capitalised words inside sentences."""
    times: frozenset[str]
    """Days, months, meals and seasons, which tell two matters apart but never make them the same."""
    topic: frozenset[str]
    """Stems of what the claim says it is about."""
    runs: frozenset[tuple[str, ...]]
    """Every four words in a row of the quotes, by which somebody is heard repeating themself."""
    text: str
    """The supporting quotes."""
    own: str
    """The same without what it quotes of others."""


def list_stems(text: str) -> list[str]:
    """Return the content words' stems in order."""
    return [found for word in list_words(text) if (found := _content(word))]


def read_claim(claim: SessionClaim) -> Wording:
    """Return what the claim's subject and supporting quotes are about."""
    text = " ".join(located.exact for located, role in claim.quotes if role == "supporting")
    return read_words(text, claim.subject or "", claim.holder or "")


@lru_cache(maxsize=2**14)
def read_words(text: str, subject: str = "", holder: str = "") -> Wording:
    """Return what a text is about; kept, since the same claims are read again with every session that is added."""
    whole = f"{text} . {subject}"
    words = list_words(text)
    return Wording(
        stems=frozenset(list_stems(whole)),
        told=frozenset(list_stems(text)),
        names=frozenset(stem(word) for name in _NAME.findall(whole) for word in list_words(name) if _content(word))
        - {stem(word) for word in list_words(holder)},
        times=frozenset(
            stem(word)
            for word in (one.removesuffix("'s") for one in list_words(whole))
            if word in _CALENDAR or _ORDINAL.match(word)
        ),
        topic=frozenset(list_stems(subject)),
        runs=frozenset(zip(words, words[1:], words[2:], words[3:], strict=False)),
        text=text,
        own=drop_quoted(text),
    )


def drop_quoted(text: str) -> str:
    """Return the text without what stands in double quotation marks: other words, or other times."""
    return _QUOTED.sub(" ", text)


@lru_cache(maxsize=2**14)
def is_negated(text: str) -> bool:
    """Tell whether the words deny an odd number of times: "I never told" does, "nobody didn't" does not."""
    return len(_NEGATION.findall(text)) % 2 == 1


def find_kin(stems: Iterable[str], others: Iterable[str]) -> frozenset[str]:
    """Return those of the stems that name an act which the others name too, by another word or the same."""
    named = {family for one in others for family in (_FAMILY.get(one),) if family}
    return frozenset(one for one in stems if one in _FAMILY and _FAMILY[one] in named)


def share_act(left: Iterable[str], right: Iterable[str]) -> bool:
    """Tell whether the stems hold verbs of one family."""
    others = frozenset(right)
    return any(not others.isdisjoint(_FAMILY[one]) for one in left if one in _FAMILY)
