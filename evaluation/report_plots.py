"""The report's pictures, as SVG that takes its colours from the page, so that they suit dark and light."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from evaluation.retrieval_metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#010203"
"""Stands for the page's own text colour and is replaced by it."""
ACCENT: Final = "#010204"
FORMER: Final = "#010205"
COLOURS: Final = {INK: "currentColor", ACCENT: "var(--accent)", FORMER: "var(--former)"}
BINS: Final = [step / 20 for step in range(21)]
WIDTH_INCHES: Final = 5.2


def plot_distribution(values: Sequence[float], former: Sequence[float]) -> str:
    """Return a histogram of a score from 0 to 1, the baseline's as an outline."""
    figure, axes = _open(1.5)
    axes.hist(np.clip(values, 0, 1), BINS, color=ACCENT, alpha=0.75)
    if former:
        axes.hist(np.clip(former, 0, 1), BINS, histtype="step", color=FORMER, linewidth=1.6)
    axes.set_xlim(0, 1)
    axes.set_ylabel("answers")
    return _close(figure)


def plot_times(milliseconds: Sequence[float], former: Sequence[float]) -> str:
    """Return the share of answers that were whole within a time."""
    figure, axes = _open(1.8)
    for values, colour in ((former, FORMER), (milliseconds, ACCENT)):
        if values:
            ordered = np.sort(np.asarray(values))
            axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, linewidth=1.8)
    axes.set_xlabel("milliseconds until the answer was whole")
    axes.set_ylabel("share")
    axes.set_ylim(0, 1)
    axes.set_xlim(left=0)
    return _close(figure)


def plot_slices(slices: Mapping[str, Interval], former: Mapping[str, Interval]) -> str:
    """Return one metric's mean and interval in every slice, a line a slice; the baseline's mean as a tick."""
    figure, axes = _open(0.5 + 0.24 * len(slices))
    for place, (name, interval) in enumerate(slices.items()):
        axes.plot([interval.low, interval.high], [place, place], color=ACCENT, linewidth=2.5, alpha=0.55)
        axes.plot([interval.mean], [place], "o", color=ACCENT, markersize=5)
        if name in former:
            axes.plot([former[name].mean], [place], "|", color=FORMER, markersize=12, markeredgewidth=2)
    axes.set_yticks(range(len(slices)), [name.replace("=", ": ") for name in slices])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(axis="x", color=INK, alpha=0.12)
    return _close(figure)


def plot_cost(costs: Sequence[float], quality: Sequence[float], label: str) -> str:
    """Return each answer's cost against its quality."""
    figure, axes = _open(2.4)
    axes.plot(costs, quality, "o", color=ACCENT, alpha=0.6, markersize=4)
    axes.set_xlabel("USD an answer")
    axes.set_ylabel(label)
    axes.set_ylim(-0.03, 1.03)
    return _close(figure)


def _open(height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("none")
    figure.patch.set_alpha(0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(INK)
        spine.set_alpha(0.35)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
        axis.label.set_fontsize(8)
    return figure, axes


def _close(figure: "Figure") -> str:
    import matplotlib as mpl

    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "regenesis", "font.family": ["sans-serif"]}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    for given, wanted in COLOURS.items():
        text = text.replace(given, wanted)
    return text[text.index("<svg") :]
