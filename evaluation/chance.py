"""Tells a change from chance over several scores of the same cases at once.

Each score tested by itself at 2.5 % would raise a false alarm in every fourth run that is judged too; tested together,
all of them raise one in no more than 2.5 % of runs.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.025
"""How often a run that changed nothing may be called worse in any of its scores."""
DRAWS: Final = 4_000
SEED: Final = 20_261_121

_BLOCK: Final = 4_000_000  # signs at a time, 32 MB
_ROUNDING: Final = 1e-9


def find_chances(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each score, how often chance alone changes some score as clearly, in the direction it went.

    `differences` is (cases, scores), after less before, NaN where a case has no such score; the chances are (scores,),
    1 where nothing changed. If nothing changed but by chance, a case's two runs may as well be swapped: so the signs of
    cases are drawn anew, a case's scores together, and each score's sum over the root of its squares is held against
    the largest of all scores (Westfall and Young's maxT, 1993). That holds for few cases and whatever depends on
    what. Seeded, so the same differences have the same chances.
    """
    known = np.nan_to_num(differences)
    lengths = np.sqrt((known**2).sum(axis=0))
    chances = np.ones(known.shape[1])
    moved = lengths > 0
    if not moved.any():
        return chances
    unit = known[:, moved] / lengths[moved]
    clear = unit.sum(axis=0)
    rng = np.random.default_rng(SEED)
    as_clear = np.zeros(len(clear))
    cases = len(unit)
    for begun in range(0, DRAWS, size := max(1, _BLOCK // cases)):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (min(size, DRAWS - begun), cases), np.int8)
        drawn = signs @ unit
        highest, lowest = drawn.max(axis=1)[:, None], drawn.min(axis=1)[:, None]
        as_clear += np.where(clear > 0, highest >= clear - _ROUNDING, lowest <= clear + _ROUNDING).sum(axis=0)
    chances[moved] = (1 + as_clear) / (1 + DRAWS)
    return chances
