"""Budgets: how large the networks are and how long they train; what each spends is said before the start."""

from dataclasses import dataclass
from typing import Literal

from segmed.reproduction.protocol import SCHEDULE

BudgetName = Literal["smoke", "cpu", "full"]


@dataclass(frozen=True)
class Budget:
    """`common` settings of all dense recipes, `patient` and `reproduction` of a protocol, folds and seeds by patient.

    `slim` are settings of dense networks whose decoder has a width for each block. `tiny` are settings of rows of the
    recipe `sam-tiny`; rows of published weights are trained as their recipes say.

    `systems` are the rows trained unless others are named. `held_out` are those also trained with each institution
    held out. `degraded` are those also tested by patient on images made worse on purpose, by `degradations`; a low-pass
    takes away some of what a network sees at its size of 256 px images, LGG's.
    """

    name: BudgetName
    folds: int
    seeds: int
    common: tuple[str, ...]
    patient: tuple[str, ...]
    reproduction: tuple[str, ...]
    systems: tuple[str, ...]
    slim: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    degradations: str = "bandgain:0.75,ringnoise:0.1,ghost:0.2,noise:0.1,bias:0.4"


BASELINES = ("deeplabv3plus", "unet", "unetplusplus", "deeplabv3", "pan")
DENSE = (
    *BASELINES,
    "unet-25d",
    "unet-featup",
    "unet-featup-control",
    "unet-gafl",
    "unet-gafl-control",
    "unet-featup-gafl",
)
PUBLISHED = (
    *("sam-published", "sam-published-5", "sam-published-20", "sam-published-points", "sam-published-cascade"),
    *("sam2-published", "sam2-published-5", "sam2-published-20", "sam2-published-points", "sam2-published-cascade"),
    *("medsam-published", "medsam-published-5", "medsam-published-20", "medsam-published-cascade"),
)
TINY = ("sam-tiny", "sam-tiny-boxes", "sam-tiny-boxes-5", "sam-tiny-boxes-20", "sam-tiny-cascade")

BUDGETS: dict[str, Budget] = {
    "smoke": Budget(
        "smoke",
        folds=2,
        seeds=1,
        common=("model.encoder=tu-mobilenetv3_small_050", "model.encoder_weights=none"),
        patient=("epochs=4", "sampling.batch_size=8", "sampling.steps_per_epoch=12", "optim.learning_rate=0.003"),
        reproduction=(*SCHEDULE, "sampling.batch_size=8", "sampling.steps_per_epoch=6", "optim.learning_rate=0.003"),
        systems=("deeplabv3plus", "unet"),
        degraded=("unet",),
        degradations="bandgain:1.1",
        tiny=(
            "model.encoder=tu-mobilenetv3_small_050",
            "model.sam.size=64",
            "preprocess.size=[64,64]",
            "epochs=4",
            "sampling.batch_size=8",
            "sampling.steps_per_epoch=12",
            "optim.learning_rate=0.002",
        ),
    ),
    "cpu": Budget(
        "cpu",
        folds=3,
        seeds=1,
        common=(
            "model.encoder=tu-tf_efficientnet_lite0",
            "model.encoder_weights=imagenet",
            "preprocess.size=[128,128]",
            'precision="32"',  # bf16 is 0.8 to 1.1 times as fast: benchmarks/results/precision-amx.json
        ),
        patient=(
            "epochs=6",
            "sampling.steps_per_epoch=92",
            "optim.learning_rate=0.004",
            "optim.schedule=one-cycle",
            "prediction.smallest_share=0.1",
        ),
        reproduction=(*SCHEDULE, "optim.learning_rate=0.001"),
        slim=("model.decoder_channels=[128,64,32,16,16]",),
        systems=(*DENSE, *TINY),
        held_out=("unet",),
        degraded=("unet", "unet-gafl"),
        degradations="bandgain:1.1,ringnoise:0.2,ghost:0.4,noise:0.3,bias:0.8",
        tiny=(
            "model.encoder=tu-tf_efficientnet_lite0",
            "model.encoder_weights=imagenet",
            "model.sam={size: 192, box_prior: true}",
            "preprocess.size=[192,192]",
            "loss.overlap=each",
            'precision="32"',
            "sampling.batch_size=8",
            "sampling.positive_share=0.75",
            "sampling.steps_per_epoch=184",
            "epochs=6",
            "optim.learning_rate=0.001",
            "optim.schedule=one-cycle",
            "prediction.smallest_share=0.1",
        ),
    ),
    "full": Budget(
        "full",
        folds=5,
        seeds=3,
        common=("model.encoder=efficientnet-b5", "model.encoder_weights=imagenet"),
        patient=("epochs=40", "optim.learning_rate=0.0005", "optim.warmup_steps=300"),
        reproduction=(*SCHEDULE, "optim.learning_rate=0.0001"),
        systems=(
            *DENSE,
            "sam-reproduction",
            *PUBLISHED,
            "sam",
            "sam-boxes",
            "sam-boxes-5",
            "sam-boxes-20",
            "medsam",
            "medsam-boxes",
            "medsam-boxes-5",
            "medsam-boxes-20",
            "medsam-cascade",
            "medsam-featup",
            "medsam-featup-control",
            "medsam-gafl",
            "medsam-featup-gafl",
        ),
        held_out=("unet", "deeplabv3plus"),
        degraded=("unet", "unet-gafl", "deeplabv3plus"),
    ),
}
