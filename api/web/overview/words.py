"""How an overview says figures, of few people too: that they are few, and nothing else."""

from decimal import Decimal
from typing import Final

from nicegui import ui

from api.web.parts import element
from domain.operations import FEWEST_PEOPLE

TOO_FEW: Final = f"fewer than {FEWEST_PEOPLE}"


def say_people(people: int) -> str:
    """Return how many people there are, where they are enough to be told."""
    return TOO_FEW if 0 < people < FEWEST_PEOPLE else f"{people:,}"


def average_cell(average: Decimal | None, digits: int, unit: str = "") -> None:
    """Add a cell with an average; of few people, and so of none, the database gives none."""
    if average is None:
        element("td", "too few", "number soft")
    else:
        element("td", f"{average:,.{digits}f}{unit}", "number")


def explain_averages(which: str) -> None:
    """Add which columns of a table are averages, and what "too few" means there."""
    words = f"{which} are averages. Too few: it would be of fewer than {FEWEST_PEOPLE} people, so it is not shown."
    element("p", words, "soft small")


def unfold(words: str) -> ui.element:
    """Add something to open, which holds a table."""
    with ui.element("details") as made:
        element("summary", words)
    return made
