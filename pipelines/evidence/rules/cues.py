"""The grammar of first-person cues: what a clause must begin with to be a claim of a type.

Each pattern is matched at a clause's subject, in the clause's shape. The group `vp` holds what is promised, wanted or
done, with its verb; `np` a thing; the group `verb` the verb that is looked up. The order counts: the first that matches
is the clause's claim.
"""
# ruff: noqa: E501 - a pattern is read whole

import re
from dataclasses import dataclass
from typing import Final, Literal

from pipelines.evidence.records import ClaimType, Modality, Polarity
from pipelines.evidence.rules.words import AMBIGUOUS, FEELING_NOUNS, FEELINGS, VERDICTS

Needs = Literal[
    "act",
    "act_or_since",
    "past_act",
    "bare_past",
    "present",
    "future",
    "long",
    "short",
    "content",
    "since",
    "bound",
    "next_time",
]

_ADVERBS: Final = (
    r"(?:(?:really|just|also|still|now|then|definitely|certainly|actually|only|always|literally|finally|already|even|"
    r"too|so|very|quite|pretty|absolutely|completely|totally|kind of|sort of|honestly|sometimes|often|mostly|simply|"
    r"do(?=\s+(?:want|need|feel|hope|believe|wish|plan|promise))|both|first|a bit|a little(?: bit)?|probably|usually|genuinely|properly|personally|currently|soon)\s+)*"
)
_WILL: Final = rf"(?:I'll|I\s+will|I\s+shall|I'm\s+(?:going\s+to|gonna)|I\s+am\s+going\s+to|I'm\s+gonna)\s+{_ADVERBS}"
_WONT: Final = rf"(?:I\s+won't|I\s+will\s+not|I'll\s+not|I'm\s+not\s+(?:going\s+to|gonna)|I'll\s+never|I\s+will\s+never)\s+{_ADVERBS}"
_AM: Final = (
    rf"I(?:'m|\s+am|\s+was|'ve\s+been|\s+have\s+been|\s+get|\s+got|'m\s+getting|\s+became)\s+{_ADVERBS}(?:of\s+)?"
)
_VP: Final = r"(?P<vp>(?P<verb>[a-z]+(?:-[a-z]+)*)\b.*)"
_FEELING: Final = "|".join(sorted((word for word in FEELINGS if word not in AMBIGUOUS), key=len, reverse=True))
_FEELING_NOUN: Final = "|".join(sorted(FEELING_NOUNS))
_VERDICT: Final = "|".join(sorted(VERDICTS, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Cue:
    """One way to begin a claim; `says` is its statement with the holder's name and the words made third person."""

    name: str
    claim_type: ClaimType
    pattern: re.Pattern[str]
    says: str = ""
    polarity: Polarity | Literal["tone"] = "positive"
    modality: Modality = "stated"
    needs: tuple[Needs, ...] = ()
    past: bool = False
    """Whether the days it names lie behind."""
    anyone: bool = False
    """Whether the clause's subject may be other than "I" or "we"."""


_ANYONE: Final = frozenset(
    {"plan", "next time", "decision", "want to", "my goal", "what I want", "hard to", "hard part", "in the way",
     "gets in the way", "done", "did not do it", "it scares me", "makes me", "it felt", "it is", "everyone", "bare past", "seen doing", "state", "absolute"}
)  # fmt: skip


def _cue(
    name: str,
    claim_type: ClaimType,
    pattern: str,
    says: str = "",
    *,
    polarity: Polarity | Literal["tone"] = "positive",
    modality: Modality = "stated",
    needs: tuple[Needs, ...] = (),
    past: bool = False,
) -> Cue:
    return Cue(
        name, claim_type, re.compile(pattern, re.IGNORECASE | re.DOTALL), says,
        polarity=polarity, modality=modality, needs=needs, past=past,
anyone=name in _ANYONE,
    )  # fmt: skip


CUES: Final[tuple[Cue, ...]] = (
    # --- commitments
    _cue("promise", "commitment", rf"I\s+{_ADVERBS}(?:promise|commit|swear|vow|pledge|undertake)(?:\s+you)?"
         rf"(?:\s+(?:that\s+)?(?:I'll|I\s+will)|\s+to)\s+{_VP}", "{name} committed to {vp}"),
    _cue("will not", "commitment", rf"{_WONT}{_VP}", "{name} committed not to {vp}",
         polarity="negative", needs=("act", "content")),
    _cue("will be doing", "commitment", r"(?:I'll|I\s+will)\s+be\s+(?P<vp>(?P<verb>[a-z]+)ing\b.*)",
         "{name} committed to {vp}", needs=("act", "future")),
    _cue("will", "commitment", rf"{_WILL}{_VP}", "{name} committed to {vp}", needs=("act", "content")),
    _cue("plan", "commitment", rf"I(?:\s+{_ADVERBS}(?:plan|intend|mean)|'m\s+{_ADVERBS}(?:planning|intending|committed|determined))\s+"
         rf"to\s+{_VP}|my\s+plan\s+is\s+to\s+(?P<vp2>.+)", "{name} plans to {vp}", needs=("content",)),
    _cue("agreed", "commitment", rf"I(?:'ve|\s+have)\s+{_ADVERBS}agreed\s+to\s+{_VP}", "{name} agreed to {vp}"),
    _cue("not doing then", "commitment", rf"(?:I'm|I\s+am)\s+not\s+{_ADVERBS}(?P<vp>(?P<verb>[a-z]+)ing\b.*)",
         "", polarity="negative", needs=("act", "future")),
    _cue("doing then", "commitment", rf"(?:I'm|I\s+am)\s+{_ADVERBS}(?!meeting\b|seeing\b)(?P<vp>(?P<verb>[a-z]+)ing\b.*)",
         "", needs=("act", "future")),
    _cue("having then", "commitment", r"I'm\s+having\s+(?P<vp>.+)", "", needs=("future", "content")),
    _cue("next time", "commitment", r"I\s+(?P<vp>(?P<verb>[a-z]+)\b.*)", "", needs=("next_time",)),
    # --- decisions
    _cue("decided", "decision", rf"(?:I|we)(?:'ve|\s+have)?\s+{_ADVERBS}(?:decided|resolved|made\s+up\s+my\s+mind)\s+(?:to\s+)?"
         r"(?P<vp>(?!(?:that\s+)?I(?:'m|\s+am)\s+(?:a|an|the)\b)(?:that|not|against|on|to|I|we|[a-z]+)\b.*)", "", needs=("long",)),
    _cue("decision", "decision", r"my\s+decision\s+is\s+(?P<vp>.+)", "", needs=("long",)),
    _cue("changed mind", "decision", rf"I(?:'ve|\s+have)?\s+{_ADVERBS}(?:changed\s+my\s+mind|made\s+up\s+my\s+mind)\b(?:\s+about\s+(?P<np>[^,.]+))?.*",
         "", polarity="negative"),
    _cue("accepted", "decision", rf"(?:I|we)(?:'ve|\s+have)?\s+{_ADVERBS}(?P<vp>(?P<verb>accepted|chosen|chose|picked|agreed\s+to|opted|"
         r"settled\s+on|said\s+yes\s+to)\b.*)", "", needs=("long",)),
    _cue("said yes", "decision", r"I\s+said\s+yes[.!]?$", ""),
    _cue("declined", "decision", rf"(?:I|we)(?:'ve|\s+have)?\s+{_ADVERBS}(?P<vp>(?P<verb>turned\s+down|turned\s+(?:it|that)\s+down|declined|"
         r"rejected|quit|resigned|dropped|given\s+up|gave\s+up|gave\s+it\s+up|said\s+no\s+to|handed\s+in\s+my\s+notice)\b.*)", "",
         polarity="negative", needs=("content",)),
    _cue("not doing", "decision", rf"(?:I'm|I\s+am|we're|we\s+are)\s+not\s+{_ADVERBS}(?P<vp>(?P<verb>leaving|staying|keeping|quitting|"
         r"joining|applying|taking|starting|hiring|selling|stopping|moving|raising|renewing|accepting|signing|coming\s+back)\b.*)",
         "", polarity="negative", needs=("content",)),
    _cue("doing", "decision", rf"(?:I'm|I\s+am|we're|we\s+are)\s+{_ADVERBS}(?P<vp>(?P<verb>leaving|staying|quitting|coming\s+off|"
         r"stepping\s+(?:down|back|out)|giving\s+up|joining|resigning|withdrawing|dropping)\b.*)", "", needs=("content",)),
    _cue("we do then", "decision", rf"(?:we're|we\s+are)\s+(?:not\s+)?{_ADVERBS}(?P<vp>(?P<verb>[a-z]+)ing\b.*)", "", needs=("act", "future")),
    _cue("done with", "decision", rf"I'm\s+{_ADVERBS}(?P<vp>done\s+with\s+.+)", "", polarity="negative", needs=("content",)),
    # --- goals
    _cue("do not want", "goal", rf"I\s+{_ADVERBS}(?:don't|do\s+not)\s+{_ADVERBS}(?:want\s+to|wanna)\s+{_VP}",
         "{name} does not want to {vp}", polarity="negative", needs=("content",)),
    _cue("want to", "goal", rf"(?:what\s+)?(?:I(?:'d|\s+would)\s+{_ADVERBS}(?:like|love|prefer)\s+to|I(?:'d)?\s+{_ADVERBS}(?:want\s+to|wanna|hope\s+to|wish\s+to|aim\s+to))[\s,]+"
         rf"{_ADVERBS}{_VP}", "{name} wants to {vp}", needs=("content",)),
    _cue("hoping", "goal", rf"I'm\s+{_ADVERBS}(?:hoping\s+to|aiming\s+(?:to|for)|working\s+(?:to|towards?))\s+{_VP}",
         "{name} hopes to {vp}", needs=("content", "long")),
    _cue("my goal", "goal", rf"my\s+(?:(?:main|big|biggest|first|next|real|own|long-term|overall)\s+)*(?:goal|aim|ambition|dream|hope|target|"
         rf"objective)s?(?:\s+(?:here|now|this\s+year|for\s+[^.]{{0,30}}?))?\s*(?:is|are|would\s+be|'s)\s+{_ADVERBS}(?:that\s+)?(?P<np>.+)",
         "{name}'s goal is {np}", needs=("long",)),
    _cue("what I want", "goal", rf"what\s+I(?:'d)?(?:\s+would)?\s+{_ADVERBS}(?:want|like|hope\s+for|need)\b.{{0,40}}?\s(?:is|would\s+be)\s+(?:to\s+)?(?P<np>.+)",
         "", needs=("long",)),
    _cue("wish I could", "goal", r"I\s+(?:really\s+)?wish\s+(?:that\s+)?I\s+(?:could|was|were)\s+(?P<vp>.+)", ""),
    _cue("want that", "goal", rf"I'd\s+{_ADVERBS}(?:like|love|want)\s+(?!to\b|it\b|that\b|this\b|you\b|her\b|him\b|them\b|a\s+(?:coffee|tea|drink|minute))(?P<np>[a-z].+)",
         "{name} would like {np}", needs=("long",)),
    _cue("want", "goal", rf"I\s+{_ADVERBS}want\s+(?!to\b|it\b|that\b|this\b|you\b|her\b|him\b|them\b|one\b|a\s+(?:coffee|tea|drink|minute|second|moment))(?P<np>[a-z].+)",
         "{name} wants {np}", needs=("content",)),
    _cue("need to", "goal", rf"(?:I\s+{_ADVERBS}(?:need\s+to|must|gotta)|I(?:'ve|\s+have)\s+{_ADVERBS}got\s+to)\s+{_ADVERBS}{_VP}", "{name} needs to {vp}",
         modality="inferred", needs=("content",)),
    _cue("should", "goal", rf"I\s+{_ADVERBS}(?:should|ought\s+to)\s+{_ADVERBS}{_VP}", "{name} thinks they should {vp}",
         modality="inferred", needs=("act", "content")),
    _cue("ready to", "goal", rf"I'm\s+{_ADVERBS}(?:ready|willing|prepared)\s+to\s+{_VP}", "{name} is willing to {vp}", needs=("content",)),
    # --- obstacles
    _cue("not able", "obstacle", rf"I\s*{_ADVERBS}(?:can't|cannot|can\s+not|couldn't(?=\s+(?:bring|face|stop|do\s+it|sleep|say\s+no))|(?:'m|am|was)\s+(?:not\s+able\s+to|unable\s+to))\s+"
         rf"(?:seem\s+to\s+)?(?:bring\s+myself\s+to\s+)?{_ADVERBS}(?!wait\b|believe\b|remember\b|hear\b|see\s+(?:you|how|why|that)\b|tell\s+you\b|"
         r"imagine\b|complain\b|think\b|stand\b|say\s+(?:that|i|for|what)\b|thank\b|recall\b|explain\b|blame\b|help\s+(?:but|you)\b|go\s+wrong\b|lie\b)(?P<vp>[a-z].+)",
         "", polarity="negative", needs=("content",)),
    _cue("how to", "obstacle", r"I\s+(?:just\s+|really\s+)?(?:don't|do\s+not|didn't)\s+know\s+how\s+(?:I\s+can|I'm\s+going\s+to|to)\s+(?P<vp>.+)", "",
         polarity="negative", needs=("content",)),
    _cue("struggle", "obstacle", rf"I(?:'m|'ve\s+been|\s+have)?\s+{_ADVERBS}(?:struggl\w+\s+(?:to|with)|have\s+(?:trouble|difficulty|a\s+hard\s+time)|"
         r"having\s+(?:trouble|difficulty|a\s+hard\s+time)|stuck|find\s+(?:it|that)\s+(?:\w+\s+)?(?:hard|difficult|tough|impossible)|"
         r"finding\s+(?:it|that)\s+(?:\w+\s+)?(?:hard|difficult|tough))\b\s*(?P<vp>.*)", "", polarity="negative"),
    _cue("no time", "obstacle", rf"I\s+{_ADVERBS}(?:don't|do\s+not|haven't|never)\s+{_ADVERBS}(?:have|got)\s+{_ADVERBS}"
         r"(?:the\s+|any\s+|enough\s+)*(?P<np>(?:time|energy|money|confidence|courage|space|patience|willpower|support|skills?|motivation)\b.*)",
         "", polarity="negative"),
    _cue("avoid", "obstacle", rf"I\s+{_ADVERBS}(?P<vp>(?:avoid|procrastinate|overthink|dodge|postpone|hide\s+(?:behind|from|in))\b.*)", "", polarity="negative"),
    _cue("hard to", "obstacle", rf"(?:it's|it\s+is|that's|it\s+was|that\s+was|it\s+has\s+been|it's\s+been)\s+{_ADVERBS}(?:hard|harder|difficult|tough|tricky|impossible)"
         r"(?:\s+for\s+me)?\s+to\s+(?P<vp>.+)", "", polarity="negative"),
    _cue("hard part", "obstacle", r"the\s+(?:(?:only|main|big|biggest|real|other)\s+)*(?:(?:hard|hardest|difficult|tricky|toughest)\s+(?:part|thing|bit|half)|"
         r"problem|trouble|obstacle|barrier|difficulty|challenge)(?:\s+(?:here|for\s+me|with\s+(?:that|it|this)))?\s*(?:is|'s)\b,?\s+(?P<np>.+)",
         "", polarity="negative", needs=("long",)),
    _cue("in the way", "obstacle", r"what(?:'s|\s+is)?\s+(?:\w+\s+)?(?:stopping|holding|in\s+(?:my|the)\s+way|gets?\s+in|getting\s+in|keeping|keeps|stops|holds)\b"
         r".{0,30}?(?:\bis\b|'s)\s+(?P<np>.+)", "", polarity="negative"),
    _cue("gets in the way", "obstacle", r"(?P<np>[^,]{2,60}?)\s+(?:(?:always|really|just|keeps?|still|kind\s+of|sort\s+of)\s+)*(?:gets?|got|getting|is|stands?)\s+in\s+(?:the|my)\s+way\b.*|"
         r"(?P<np2>[^,]{2,60}?)\s+(?:(?:always|really|just|still)\s+)*(?<!n't )(?<!not )(?:stops?\s+me|holds?\s+me\s+back|keeps?\s+me\s+from|prevents?\s+me)\b.*",
         "", polarity="negative"),
    # --- progress
    _cue("said and did not", "progress", r"I\s+said\s+(?:that\s+)?I(?:'d|\s+would)\s+(?P<vp>[a-z].+)", "", polarity="negative", needs=("short",), past=True),
    _cue("did it", "progress", rf"I(?:'ve)?\s+{_ADVERBS}(?:did|done)\s+(?:it|that|them|both|so|all\s+\w+)\b.*", "", past=True),
    _cue("done", "progress", rf"(?:(?:it's|that's|it\s+is|that\s+is|they're|all)\s+{_ADVERBS})?(?:done|finished|sorted|settled)[.!]?$", "", past=True),
    _cue("did not do it", "progress", rf"I\s+{_ADVERBS}(?:didn't|did\s+not|haven't|have\s+not)(?:\s+(?:do|done|did)\s+(?:it|that|them|so|any).*|[.!]?$)|"
         r"(?:didn't|did\s+not|haven't)\s+(?:do|done)\s+(?:it|that)\b.*", "", polarity="negative", past=True),
    _cue("not done", "progress", rf"(?:I|we)\s+{_ADVERBS}(?:didn't|did\s+not|haven't|have\s+not|hadn't|never|'ve\s+never|'ve\s+not|have\s+never)\s+{_ADVERBS}"
         rf"(?:got\s+(?:round|around)\s+to\s+|gotten\s+(?:round|around)\s+to\s+|managed?\s+to\s+|manage\s+to\s+|end(?:ed)?\s+up\s+)?(?!got\b){_VP}",
         "", polarity="negative", needs=("act_or_since", "content"), past=True),
    _cue("put off", "progress", rf"I\s+{_ADVERBS}(?P<vp>(?:put|kept\s+putting)\s+(?:it|that|this|them)\s+off\b.*|forgot\s+(?:to|about)\b.*|missed\s+(?:it|the|my)\b.*|"
         r"gave\s+up\b.*|slipped\b.*|failed\b.*|skipped\b.*|chickened\s+out\b.*|backed\s+out\b.*)", "", polarity="negative", past=True),
    _cue("lasted", "progress", r"I\s+(?:only\s+|just\s+)?(?P<vp>(?:lasted|kept\s+(?:it|that)\s+up|held\s+out|managed)\b.+)", "", past=True, needs=("short",)),
    _cue("started", "progress", rf"I(?:'ve|\s+have)?\s+{_ADVERBS}(?P<vp>(?:started|begun|began|managed\s+to|finished|completed|signed\s+up|got\s+(?:round|around)\s+to)\b.+)", "", past=True, needs=("content",)),
    _cue("stopped", "progress", rf"I(?:'ve|\s+have)?\s+{_ADVERBS}(?P<vp>(?:stopped|quit|given\s+up|cut\s+(?:down|out|back)|come\s+off|came\s+off)\b.+)", "",
         polarity="negative", past=True, needs=("content",)),
    _cue("did", "progress", rf"(?:I|we)(?:'ve|\s+have)?\s+{_ADVERBS}(?P<vp>(?P<verb>[a-z]+)\b.+)", "", past=True, needs=("past_act", "content")),
    _cue("said it", "progress", r"I\s+said,?\s+(?P<vp>(?:it|no|the\s+\w+)\b.*|[\"“]_.*)", "", past=True, needs=("since",)),
    _cue("how often", "progress", rf"I(?:'ve|\s+have)?\s+{_ADVERBS}(?P<vp>(?:had|been|gone|made|done|managed)\b.*\b(?:once|twice|(?:one|two|three|four|five|\d+)\s+times)\b.*)", "", polarity="neutral", past=True),
    _cue("amount", "progress", r"(?:I'm|we're)\s+(?:now\s+)?(?P<vp>(?:at|down\s+to|up\s+to)\s+(?:about\s+|nearly\s+|only\s+)?(?:\d|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
         r"\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|half|a\s+hundred)\b).*)|(?:I|we)(?:'ve|\s+have)\s+(?:got\s+)?(?P<np>.{3,40}?\s(?:saved|put\s+aside|put\s+by)\b.*)",
         "", polarity="neutral"),
    _cue("still doing", "progress", r"I'm\s+still\s+(?P<vp>[a-z]+ing\b.+)", "", needs=("content",)),
    _cue("bare past", "progress", r"(?P<vp>(?P<verb>[a-z]+)\b.+)", "", past=True, needs=("bare_past", "content")),
    _cue("seen doing", "progress", r".{1,70}?\b(?:finds?|found|catch(?:es)?|caught)\s+me\s+(?P<vp>.+)", "", polarity="negative", past=True, needs=("since",)),
    _cue("still", "progress", rf"I\s+(?:{_ADVERBS})(?<=still\s){_ADVERBS}(?P<vp>(?P<verb>(?!am\b|have\s+(?:a|some|no)\b|think|feel|want|can|could|don|haven|didn|need|love|like|miss|remember|know|hear|believe|would|will|was|did|get\s+to)[a-z]+)\b.+)",
         "", needs=("content",)),
    _cue("keep doing", "progress", r"I\s+(?:still\s+)?(?:keep|kept)\s+(?:on\s+)?(?P<vp>[a-z]+ing\b.+)", "", polarity="negative", needs=("content", "long")),
    _cue("back in", "progress", r"I(?:\s+was|'m|\s+am)\s+(?P<vp>(?:right\s+)?back\s+(?:in|on|at|to)\b.+)", "", polarity="negative", past=True),
    _cue("out of", "progress", r"I'm\s+(?P<vp>(?:out|off)(?:\s+of\b.+|\s+(?:it|the)\b.*|[.!]?)$)", "", polarity="negative"),
    # --- emotions
    _cue("scared that", "emotion", rf"{_AM}(?:scared|afraid|frightened|worried|terrified)\s+(?P<vp>(?:that|if|I|of|they|she|he|it|about|we)\b.+)", "",
         polarity="negative"),
    _cue("feel that", "belief", r"I\s+(?:just\s+|really\s+|do\s+)?(?:feel|felt)\s+(?:that|like\s+(?:I|it|that|they|we|people|my|there|he|she|this)|as\s+(?:if|though))\b(?P<vp>.+)",
         "", polarity="neutral", needs=("long",)),
    _cue("feel", "emotion", rf"I(?:'m|'ve)?\s*{_ADVERBS}(?:don't\s+|didn't\s+|never\s+)?(?:feel|felt|feeling|been\s+feeling|was\s+feeling)\s+(?!free\b|that\b|like\s+(?:I|it|that|if|she|he|they|we|you|my|there|people|\w+ing)\b)"
         r"(?!(?:it|that|this|so)\b)(?P<np>.+)", "", polarity="tone"),
    _cue("am", "emotion", rf"{_AM}(?P<np>(?:not\s+)?(?:a\s+bit\s+|all\s+|more\s+|that\s+)?(?:{_FEELING})\b.*)", "", polarity="tone"),
    _cue("love", "emotion", rf"I\s+{_ADVERBS}(?P<np>(?:love|hate|miss|enjoy|resent|dread|fear|regret|cry|cried|can't\s+stand|loved|hated|missed|worry|grieve)\b(?!\s+(?:to|that\s+you|about\s+you)\b|(?<=miss)(?:\s+\w+)?\s+(?:bus|train|class|meeting|deadline|call|appointment|flight|session|exam)\b|\s+(?:it|that|this|them)\b\W*$).*)", "",
         polarity="tone", needs=("short",)),
    _cue("it scares me", "emotion", rf"(?:it|that|this|which|he|she|they)\s+{_ADVERBS}(?P<np>(?:scares?|worries|worried|hurts?|annoys?|annoyed|frightens?|upsets?|bothers?|"
         r"excites?|stresses|kills?|terrifies)\s+me\b.*)", "", polarity="tone"),
    _cue("makes me", "emotion", rf"[^,]{{1,60}}?\bma(?:kes?|de)\s+me\s+{_ADVERBS}(?:feel\s+(?P<np>.+)|(?P<np2>(?:{_FEELING})\b.*))", "", polarity="tone"),
    _cue("it felt", "emotion", r"(?:it|that|this)\s+(?:just\s+|really\s+)?(?:felt|feels)\s+(?!like\s+(?:I|it|you|he|she|they|we)\b)(?P<np>.+)", "", polarity="tone"),
    _cue("it is", "emotion", rf"(?:it's|that's|it\s+is|it\s+was|that\s+was|this\s+is)\s+(?:just\s+|so\s+|really\s+|very\s+|a\s+bit\s+|pretty\s+|kind\s+of\s+|quite\s+)*(?P<np>(?:{_VERDICT}|(?:(?:a|like)\s+)?(?:kind\s+of\s+|sort\s+of\s+)?(?:{_FEELING_NOUN}))\b.*)",
         "", polarity="tone"),
    # --- beliefs
    _cue("trust", "belief", rf"I\s+{_ADVERBS}(?:don't\s+)?(?P<vp>trust\b.+)", "", polarity="neutral", needs=("long",)),
    _cue("state", "belief", r"(?P<vp>(?!I\b|I'|you\b)(?:we|it|he|she|they|there|things?|the\s+\w+(?:\s+\w+)?|my\s+\w+(?:\s+\w+)?|[a-z]+)(?:'ve|'s|\s+have|\s+has|\s+is|\s+are|\s+runs?|\s+lasts?)"
         r"(?:\s+been)?\s.*\b(?:until|till|since)\s+(?:the\s+)?\w.*)", "", polarity="neutral", needs=("bound",)),
    _cue("absolute", "belief", r"(?P<vp>(?!this\b|that\b|it\b|it'|there\b|you\b|you'|I\b|I'|he\b|he'|she\b|she'|they\b|they'|we\b|we'|that'|who\b|what\b)(?:my\s+)?[a-z]+(?:'s|\s+was|\s+is|\s+has|\s+were|\s+are|\s+have)\s+(?:never|always)\b(?:\s+been\b)?\s+\w+.+)",
         "", polarity="neutral", needs=("long",)),
    _cue("never have", "belief", r"I(?:'ve|\s+have)\s+(?P<vp>never\s+(?!been\s+to|met|heard)[a-z]+\b.+)", "", polarity="negative", needs=("long",)),
    _cue("always", "belief", r"I\s+(?P<vp>(?:always|never)\s+(?P<verb>[a-z]+)\b.+)", "", polarity="neutral", needs=("long", "present")),
    _cue("habit", "belief", r"I\s+(?P<vp>(?:tend\s+to|usually|normally|often|constantly)\s+[a-z]+\b.+|(?!was\b|had\b)[a-z]+\s+(?:\w+\s+)?instead\s+of\s+.+)", "", polarity="neutral"),
    _cue("good at", "belief", rf"I'm\s+(?:not\s+)?{_ADVERBS}(?P<np>(?:good|bad|terrible|hopeless|great|useless|rubbish|better|worse|no\s+good)\s+(?:at|with)\b.+)",
         "", polarity="neutral"),
    _cue("sort of person", "belief", r"I'm\s+(?:not\s+)?(?:(?:going\s+to\s+be|just)\s+)?(?P<np>(?:the|a)\s+(?:sort|kind|type)\s+of\s+.+|a\s+\w+\s+person\b.*)",
         "", polarity="neutral", needs=("long",)),
    _cue("believe", "belief", rf"I\s*{_ADVERBS}(?:believe|realise|realize|realised|realized|learned|learnt|(?:'m|am)\s+(?:convinced|sure|certain|confident))\s+(?:that\s+)?"
         r"(?P<vp>(?!in\s+you\b|you\b|so\b|it\b$|how\b|what\b|if\b|whether\b)[a-z].+)", "", polarity="neutral", needs=("long",)),
    _cue("everyone", "belief", r"(?P<vp>(?:everyone|everybody|nobody|no\s+one|people)\s+(?:(?:always|never|ever|even|just|only|really|will|can)\s+)*(?!would\b|else\b|could\b)(?P<verb>[a-z]+)\b.+)",
         "", polarity="neutral", needs=("long", "present")),
)  # fmt: skip
THINK: Final = re.compile(
    r"I\s+(?:just\s+|really\s+|do\s+|still\s+)*(?:think|guess|suppose)\s+(?:that\s+)?"
    r"(?P<vp>(?:I|I'm|I've|my|it's|it|we|people|there's|the|this|that|he's|she's|they)\b.+)",
    re.IGNORECASE,
)
"""An opinion; tried on the clause before its opening words are taken off, because "I think" is one of them."""
IN_SESSION: Final = re.compile(
    r"(?:tell|show|give|ask|draw|read|explain(?:\s+to)?|let|answer|offer|spare|remind|have\s+to)\s+you\b|"
    r"(?:take|leave|have|give|keep|buy|move|say|park|hold|drop|let|start|stop|go|get|wait|pass|turn|try)"
    r"(?:\s+(?:it|that|this|there|on|up|back(?:\s+up)?|off|out|now|here|you|him|her|them))*[.!,]?(?:\s+(?:now|then|first))?$|"
    r"(?:write|note|jot)\s+(?:that|this|it)\s+(?:down|up)\b|hold\s+on\b|go\s+(?:first|ahead|on)\b|"
    r"start\s+(?:with|by|from)\b|stop\s+(?:there|here|now)\b|leave\s+it\b|wait\s+(?:here|for\s+you)\b|get\s+(?:to\s+(?:that|the\s+point)|it)\b|"
    r"turn\s+into\b|look\s+(?:at\s+(?:that|it)\s+now|like)\b|get\s+(?:angry|cross|mad|sick|fired|old|older|bored|used|hurt|upset|nervous|there)\b",
    re.IGNORECASE,
)
"""Verb phrases that are not for after the session, or no act at all."""
SPEECH: Final = re.compile(
    r"(?:say|tell\s+you|hear|mention|thank|add|stress|point\s+out|apologi[sz]e|ask\s+you|talk\s+(?:to\s+you|about)|know\s+(?:if|whether|why|how|what)|"
    r"start\s+(?:with|by)|show\s+you|go\s+back\s+to|come\s+back\s+to|clarify|be\s+(?:clear|honest|fair)|think\s+(?:so|that|about\s+it)|brag|believe|see\s+(?:you|if)|"
    r"make\s+sure\s+(?:I|you|that))\b",
    re.IGNORECASE,
)
"""What one wants to do in the conversation itself."""
