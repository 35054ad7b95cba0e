"""What the paper's figures may have meant is told from numbers whose answer is known."""

import dataclasses
from typing import Any

import pytest
import report_samples as samples

from segmed.evaluation.result import Evaluation
from segmed.metrics.iou_variants import IOU_VARIANTS
from segmed.reproduction.protocol import Variant
from segmed.reproduction.published import REPORTED, is_lgg
from segmed.reproduction.rows import ReproductionRow
from segmed.reproduction.variant_fit import fits, sentences


def reproduction_row(
    variant: Variant, evaluation: Evaluation, *losses: float | None, **changes: Any
) -> ReproductionRow:
    return ReproductionRow("unet", "U-Net", variant, evaluation, *losses, reported=REPORTED["unet"], **changes)


def with_variants(name: str, **values: float):
    evaluation = samples.evaluation(name, (0.5, 0.5))
    some = evaluation.metrics["dice"]
    metrics = {
        iou_variant: dataclasses.replace(some, value=values.get(iou_variant, 0.1)) for iou_variant in IOU_VARIANTS
    }
    return dataclasses.replace(evaluation, name=name, metrics={**evaluation.metrics, **metrics}, leaking=True)


def test_the_variant_nearest_to_the_paper_is_named_and_impossible_ones_are_not_meant() -> None:
    ours = with_variants("x", iou_pooled=0.60, iou_per_image_empty_one=0.80, iou_one_hot_micro=0.85)
    rows = [reproduction_row("double-sigmoid", ours, 1.66, 1.662)]
    nothing = with_variants("predict nothing", iou_one_hot_micro=0.98, iou_per_image_empty_one=0.65)
    found = fits(rows, [nothing])
    assert found[0].iou_variant == "iou_per_image_empty_one"
    assert found[0].distance == pytest.approx(0.8517 - 0.80)
    assert found[-1].iou_variant == "iou_one_hot_micro"
    assert found[-1].excluded == "predicting nothing scores 0.980"
    words = sentences(rows, [nothing])
    assert "ends at 1.662, within 1.66 ± 0.01" in words[0]
    assert "It cannot be “IoU, one-hot micro”" in words[1]
    assert "does not explain" not in words[1]


def test_a_variant_that_puts_some_of_the_papers_figures_below_an_empty_mask_is_said_to() -> None:
    nothing = with_variants("predict nothing", iou_pooled=0.81)
    rows = [reproduction_row("double-sigmoid", with_variants("x", iou_pooled=0.85), 1.66, 1.662)]
    (words,) = [each for each in sentences(rows, [nothing]) if "Of the variants" in each]
    assert "predicting nothing scores 0.810, more than the paper has for DeepLabV3 and PAN, so it does not" in words


def test_masks_of_which_nobody_knows_how_they_were_made_beat_nothing() -> None:
    masks = reproduction_row("", with_variants("x", iou_pooled=0.99), None, None, checked=False)
    assert not any("beaten" in word or "missed" in word for word in sentences([masks], []))


def test_what_is_not_trained_with_the_double_sigmoid_is_set_against_every_figure_of_the_paper() -> None:
    ours = with_variants("x", iou_pooled=0.88, iou_positive_slices=0.70, iou_per_image_empty_one=0.93)
    worse = with_variants("y", iou_positive_slices=0.71)
    rows = [("logits", ours), ("our-settings", worse), ("double-sigmoid", with_variants("z", iou_pooled=0.99))]
    words = sentences([reproduction_row(variant, each, 0.1, None) for variant, each in rows], [])[-3:]
    assert [word.rsplit(": ", 1)[1] for word in words] == [
        "0.880 by U-Net, logits, beaten.", "0.710 by U-Net, our settings, missed by 0.040.",
        "0.930 by U-Net, logits, beaten.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("patients", "expected"), [(["TCGA_CS_4941", "TCGA_DU_5849"], True), (["TCGA_CS_4941", "p1"], False), ([], False)]
)
def test_lgg_is_known_by_its_patients(patients: list[str], expected: bool) -> None:
    assert is_lgg(patients) == expected
