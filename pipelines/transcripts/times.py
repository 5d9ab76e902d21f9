"""How transcripts write moments, so that every layout reads them alike."""

import math
import re

# h:mm:ss, m:ss, with one digit or two and a fraction after a point or a comma; seconds never above 59.
CLOCK = r"(?:[0-9]{1,3}:)?[0-9]{1,3}:[0-5]?[0-9](?:[.,][0-9]{1,9})?"

_WHOLE_CLOCK = re.compile(CLOCK)


def to_seconds(clock: str) -> float:
    """Return the seconds a text matching `CLOCK` stands for, to the microsecond."""
    *hours, minutes, seconds = clock.replace(",", ".").split(":")
    return round(sum(int(h) for h in hours) * 3600 + int(minutes) * 60 + float(seconds), 6)


def find_seconds(value: object) -> float | None:
    """Return the seconds a number, a numeral or a clock stands for, None for anything else such as a date."""
    if isinstance(value, str):
        value = value.strip()
        if _WHOLE_CLOCK.fullmatch(value):
            return to_seconds(value)
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
