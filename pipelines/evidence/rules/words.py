"""Word lists that the rules stand on: verbs of acting, words of feeling, words that open a sentence without meaning."""

from typing import Final


def listed(words: str) -> frozenset[str]:
    """Return the words apart."""
    return frozenset(words.split())


# base form, past and participle where they differ from -ed; acts that one can promise and report
_IRREGULAR: Final = """
    begin began begun|bring brought|build built|buy bought|choose chose chosen|cut cut|deal dealt|do did done|
    draw drew drawn|drink drank drunk|drive drove driven|eat ate eaten|find found|get got gotten|give gave given|
    go went gone|hand-in handed|hang hung|hold held|keep kept|lead led|leave left|lend lent|let let|make made|meet met|
    pay paid|put put|quit quit|read read|ring rang rung|run ran run|sell sold|send sent|set set|sit sat|
    speak spoke spoken|spend spent|stand stood|stick stuck|swim swam swum|take took taken|teach taught|tell told|
    write wrote written|break broke broken|catch caught|throw threw thrown|wear wore worn|forgive forgave forgiven
"""
_REGULAR: Final = """
    agree add announce answer apologise apologize apply approve arrange ask attend book call cancel chair change check
    clean clear close commit complete confirm contact cook copy create delegate delete deliver discuss document donate
    draft drop email enrol enroll exercise explain file finish fix follow gather hand help hire inform install
    interview introduce invite jog join kick launch learn limit list log look mail manage mention message move observe
    offer open order organise organize pack paint park pass phone pick plan post practise practice prepare present print
    propose publish push raise record reduce refuse register reject remove rent replace reply report request research
    reserve resign return review rewrite save schedule share show sign skip smoke solve sort start stay stop
    submit suggest support swap switch talk test text thank track trade train transfer travel try turn update use visit
    volunteer wait walk warn wash watch work
"""
BASES: Final[dict[str, str]] = {}
"""Base form of each past form and participle."""
for _verb in (line.split() for line in " ".join(_IRREGULAR.split()).split("|")):
    for _form in _verb[1:]:
        BASES[_form] = _verb[0]
for _base in _REGULAR.split():
    _past = _base + "d" if _base.endswith("e") else _base + "ed"
    if _base.endswith("y") and _base[-2] not in "aeiou":
        _past = _base[:-1] + "ied"
    elif _base in {
        "plan",
        "stop",
        "skip",
        "log",
        "jog",
        "swap",
        "submit",
        "commit",
        "transfer",
        "refer",
        "drop",
        "enrol",
    }:
        _past = _base + _base[-1] + "ed"
    elif _base in {"chat", "pack"}:
        _past = _base + "ed"
    BASES[_past] = _base
ACTS: Final = listed(_REGULAR) | frozenset(line.split()[0] for line in " ".join(_IRREGULAR.split()).split("|"))
"""Base forms of what one does, so can promise."""
TELLING: Final = listed(
    "agreed announced answered apologised apologized applied arranged asked booked bought called cancelled canceled "
    "changed cleaned cleared closed completed contacted cut delegated delivered drafted dropped emailed enrolled "
    "finished fixed gave handed hired invited joined launched mentioned met messaged moved ordered organised "
    "organized paid phoned practised practiced prepared presented published quit raised rang refused registered "
    "resigned scheduled sent set shared signed sold sorted spoke started stopped submitted switched talked texted "
    "passed thanked told visited wrote given spoken written begun rung cut done taken made completed"
)
"""Past forms that report a step taken, whatever else is said; the others ("sat", "drove") also merely tell a story."""

_FEELINGS: Final = {
    "positive": """
        calm content confident delighted ecstatic encouraged energised energized enthusiastic excited free glad
        grateful happy hopeful inspired joyful lighter motivated optimistic peaceful pleased proud relaxed relieved
        satisfied secure strong thankful thrilled warm well good great amazing fantastic wonderful better
        comfortable safe settled empowered clear reassured
    """,
    "negative": """
        afraid alone ambivalent angry annoyed anxious ashamed awful awkward bad bitter blue bored bothered burnt-out
        burned-out confused conflicted cross crushed defeated defensive dejected depressed desperate devastated
        disappointed discouraged disgusted distressed drained dreadful dumb embarrassed empty envious exhausted fearful
        foolish frightened frustrated furious gloomy grumpy guilty heartbroken helpless hesitant hopeless horrible
        humiliated hurt impatient inadequate insecure invisible irritated isolated jealous judged lonely lost low mad
        miserable nervous numb offended overwhelmed panicky paralysed paralyzed powerless reluctant resentful restless
        sad scared self-conscious shaken shocked shy sick small sorry stressed stuck stupid terrible terrified tense
        threatened tired torn trapped uncertain uncomfortable uneasy unhappy unsafe unsure upset useless vulnerable weak
        weary worn-out worried worthless worse
    """,
}
FEELINGS: Final = {word: tone for tone, words in _FEELINGS.items() for word in words.split()}
"""Adjectives of feeling and their tone; published lists of feeling words (Plutchik; NVC inventory) in plain talk."""
# these name a feeling by themselves only after "feel": "I'm good" and "I'm well" greet, "I'm clear" sums up
AMBIGUOUS: Final = listed(
    "well good great fine free strong better worse bad blue clear low lost mad sick small sorry warm weak "
    "numb safe settled stuck dumb foolish stupid useless cross empty alone comfortable secure"
)
VERDICTS: Final = {
    "horrible": "negative", "lonely": "negative", "scary": "negative", "terrifying": "negative",
    "humiliating": "negative", "exhausting": "negative", "frustrating": "negative", "embarrassing": "negative",
    "overwhelming": "negative", "awful": "negative", "depressing": "negative", "stressful": "negative",
    "upsetting": "negative", "heartbreaking": "negative", "frightening": "negative", "a relief": "positive",
    "exciting": "positive",
}  # fmt: skip
"""What "it's …" says of the speaker's own feeling, with its tone."""
PAST: Final = listed(
    "felt thought knew said saw heard came became went was were had lost won slept fell grew meant understood woke "
    "stole rose rode flew fought hid shook lay left hit hurt died"
)
"""Past forms of verbs that are no acts to promise."""
FEELING_VERBS: Final = {
    **dict.fromkeys(listed("love loved enjoy enjoyed"), "positive"),
    **dict.fromkeys(
        listed(
            "hate hated miss missed resent dread fear regret cry cried worry worries worried grieve scares hurts "
            "annoys annoyed frightens upsets bothers terrifies stresses kills"
        ),
        "negative",
    ),
}
FEELING_NOUNS: Final = {
    **dict.fromkeys(listed("relief joy pride hope gratitude calm"), "positive"),
    **dict.fromkeys(
        listed("anger anxiety dread fear fraud failure grief guilt loneliness panic sadness shame sorrow stress"),
        "negative",
    ),
}
