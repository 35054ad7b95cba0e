"""`--prompts propagate` draws one box a lesion, on its largest slice, and scores what the model carries from there."""

import pytest
import tiny_runs as tiny

from box_filler import bright_finder
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.prompt_protocols import parse_prompt_protocols
from segmed.evaluation.prompted import evaluate_prompts
from segmed.evaluation.run import Plan


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return tiny.decoded_of(tiny.kaggle_folder(tmp_path_factory.mktemp("data") / "kaggle_3m"))


def test_the_row_is_an_oracle_that_was_told_one_box_a_lesion(decoded: DecodedDataset) -> None:
    plan = Plan(tiny.by_patient(decoded, train="a", validation="b", test="cd"), 0, "test", leaking=False)
    protocols = parse_prompt_protocols("gt,propagate", uncertainty=3)
    assert [protocol.name for protocol in protocols] == ["gt", "gt x3", "propagate"]
    [carried] = evaluate_prompts(bright_finder(), decoded, plan, protocols[2:], name="bright", resamples=100)
    assert carried.oracle
    assert str(carried.prompts) == "propagate"
    assert [row.slice_id for row in carried.boxes] == ["c_2", "d_2"]  # the square is on slices 2 and 3
    assert carried.metrics["dice"].value == 1.0
    assert "One tight box for each lesion" in carried.provenance.others["told"]
