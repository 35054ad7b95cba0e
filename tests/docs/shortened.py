"""What makes the commands of the pages short enough for a test; all that is printed stays in them."""

from dataclasses import replace

from segmed.study.budgets import BUDGETS, Budget

SIDE, VIT_SIDE = 64, 32


def _set(*values: str) -> tuple[str, ...]:
    return tuple(part for value in values for part in ("--set", value))


ONE_STEP = ("epochs=1", "sampling.steps_per_epoch=1", "sampling.batch_size=2", "optim.accumulate=1")
SMALL = ("model.encoder=tu-test_efficientnet", "model.encoder_weights=none", f"preprocess.size=[{SIDE}, {SIDE}]")
DENSE = _set(*ONE_STEP, *SMALL)
FROM_WEIGHTS = _set(*ONE_STEP, f"preprocess.size=[{SIDE}, {SIDE}]")
SAM_TINY = _set(*ONE_STEP, *SMALL, "model.encoder=test_efficientnet", f"model.sam.size={SIDE}")
VIT = _set(
    f"model.sam.size={VIT_SIDE}",
    "model.sam.vit={width: 32, depth: 2, heads: 2, global_layers: [1], window: 3}",
    f"preprocess.size=[{VIT_SIDE}, {VIT_SIDE}]",
)
ENCODES_HALF = _set("model.sam.size=64", "preprocess.size=[64, 64]", "model.sam.encode_at=32")
RANDOM = _set("model.encoder_weights=none")
NO_FLOORS = ("--no-floors",)
STUDY = ("--no-estimate", "--no-pictures", *_set("epochs=1"))

SHORTER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("segmed estimate", DENSE),
    ("segmed oof", (*DENSE, "--folds=2")),
    ("segmed train sam-tiny --set start=runs/sam-tiny-128", (*SAM_TINY, *_set("model.sam.encode_at=32"))),
    ("segmed train sam-tiny", SAM_TINY),
    ("segmed pretrained medsam", VIT),
    ("segmed train medsam", (*_set(*ONE_STEP), *VIT)),
    ("segmed train sam-vit-b", (*_set(*ONE_STEP), *VIT, *RANDOM)),
    ("segmed train unet --encoder resnet18", FROM_WEIGHTS),
    ("segmed train unet-lite-cpu", FROM_WEIGHTS),
    ("segmed train", DENSE),
    ("segmed embed medsam", VIT),
    ("segmed embed sam-vit-b", (*VIT, *RANDOM)),
    ("segmed distil", ("--encode-at=32", *_set(*ONE_STEP[:3]))),
    ("segmed evaluate runs/unet --data DATA", NO_FLOORS),
    ("segmed cascade", ("--prompts=box",)),
    ("segmed evaluate runs/cascade", NO_FLOORS),
    ("segmed evaluate runs/medsam-published", (*NO_FLOORS, "--prompts=gt")),
    ("segmed evaluate runs/medsam", NO_FLOORS),
    ("segmed evaluate runs/sam-proposals", NO_FLOORS),
    ("segmed evaluate runs/unet-box", NO_FLOORS),
    ("segmed evaluate runs/sam-tiny --data DATA --prompts gt", NO_FLOORS),
    ("segmed evaluate runs/sam-tiny --data DATA --prompts jitter:5 --uncertainty", NO_FLOORS),
    ("segmed evaluate runs/unet --data data/lgg --degrade", ("--degrade=lowpass:0.5",)),
    ("segmed evaluate runs/unet-radial --data data/lgg --degrade", ("--degrade=lowpass:0.5",)),
    ("segmed evaluate runs/unet-radial --data data/lgg", NO_FLOORS),
    ("segmed evaluate runs/deeplabv3plus --data data/lgg", NO_FLOORS),
    ("segmed study data/lgg --budget smoke", (*STUDY, "--protocol=patient", "--part=1/3")),
    ("segmed study data/lgg --budget full", (*STUDY, "--protocol=patient", "--part=1/3")),
    ("segmed study data/lgg --budget cpu", STUDY),
    ("segmed study DATA --budget full", (*STUDY, *VIT, *RANDOM, *ENCODES_HALF, "--systems=medsam-256-jbu")),
    ("segmed study", ("--no-estimate",)),
    ("python benchmarks/studies/ablation.py", ("--only", "unet", "unet-radial", "--seeds", "0")),
)
"""What a command begins with, and the options added to it; the first row that fits counts. Of an option that is given
twice the last one counts. `sam-tiny` stands for all recipes whose names begin so."""


def shortened(words: list[str]) -> list[str]:
    """The command with the options of the first row of `SHORTER` that it begins with."""
    line = " ".join(words) + " "
    for beginning, options in SHORTER:
        if line.startswith((f"{beginning} ", f"{beginning}-")):
            return [*words, *options]
    return words


def small_budgets() -> dict[str, Budget]:
    """The budgets of a study by their own names: one row, two folds, one seed, a small network, one step."""
    return {
        name: replace(
            budget, folds=2, seeds=1, common=SMALL, slim=(), patient=ONE_STEP,
            reproduction=(*budget.reproduction, *ONE_STEP),
            systems=("unet-25d",), held_out=(), degraded=(),
        )
        for name, budget in BUDGETS.items()
    }  # fmt: skip
