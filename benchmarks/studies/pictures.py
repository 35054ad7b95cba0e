"""Pictures of an ablation: how fast each variant learns, and what it scores on images that were made worse."""

from pathlib import Path
from typing import Any

import numpy as np
from ablation_spec import Spec

from segmed.core.files import written_aside
from segmed.evaluation.report.history import Points


def draw_curves(spec: Spec, histories: dict[str, list[Points]], path: Path) -> None:
    """A panel per group of variants that are compared: mean over seeds as a line, from least to most as a band."""
    from matplotlib.figure import Figure

    groups = [name for name, variant in spec.variants.items() if variant.against is None]
    figure = Figure(figsize=(5.2 * len(groups), 3.8), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        members = [name for name, variant in spec.variants.items() if group in (name, variant.against)]
        for index, name in enumerate(member for member in members if member in histories):
            curve = mean_curve(histories[name])
            epochs = [epoch + 1 for epoch, _ in curve]
            at = [[dict(points)[epoch] for points in histories[name] if epoch in dict(points)] for epoch, _ in curve]
            axes.fill_between(epochs, [min(v) for v in at], [max(v) for v in at], color=f"C{index}", alpha=0.15)
            axes.plot(
                epochs, [dice for _, dice in curve], color=f"C{index}", label=name, lw=2 if name == group else 1.3
            )
        axes.set(xlabel="epoch", ylabel="validation Dice", title=group)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:  # none of a group is trained yet
            axes.legend(frameon=False, fontsize=8, loc="lower right")
    with written_aside(path) as temporary:
        figure.savefig(temporary, dpi=120)


def mean_curve(several: list[Points]) -> list[tuple[float, float]]:
    """The mean over the runs that have an epoch, by epoch."""
    epochs = sorted({epoch for points in several for epoch, _ in points})
    return [(epoch, float(np.mean([dict(p)[epoch] for p in several if epoch in dict(p)]))) for epoch in epochs]


def draw_degraded(spec: Spec, means: dict[str, dict[str, float]], path: Path) -> None:
    """A panel per group of variants that are compared: mean Dice by degradation, `none` first, joined by a line.

    `means` has the variants' means over patients by degradation.
    """
    from matplotlib.figure import Figure

    hows = list(means)
    groups = [name for name, variant in spec.variants.items() if variant.against is None and name in means[hows[-1]]]
    figure = Figure(figsize=(5.2 * len(groups), 3.8), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False, sharey=True)[0], groups, strict=True):
        members = [name for name, variant in spec.variants.items() if group in (name, variant.against)]
        for index, name in enumerate(members):
            known = [(place, means[how][name]) for place, how in enumerate(hows) if name in means[how]]
            if len(known) > 1:
                style: dict[str, Any] = {"color": f"C{index}", "lw": 2 if name == group else 1.3}
                axes.plot(*zip(*known, strict=True), marker="o", ms=4, label=name, **style)
        axes.set(ylabel="Dice by patient", title=group, xticks=range(len(hows)))
        axes.set_xticklabels(hows, rotation=20, ha="right")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower left")
    with written_aside(path) as temporary:
        figure.savefig(temporary, dpi=120)
