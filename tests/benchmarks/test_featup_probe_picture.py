"""The picture of experiment A: one basis of colours, and training seen as a difference of two panels."""

import numpy as np
import torch
from featup_probe_picture import draw, panels
from probe_maps import CHANNELS

from segmed.layers.featup import GuidedUpsampler


def test_equal_features_have_equal_colours_and_an_untrained_upsampler_others_than_a_trained_one() -> None:
    torch.manual_seed(0)
    low, guidance = torch.randn(CHANNELS, 5, 4), torch.rand(1, 3, 20, 16)
    before, after = (GuidedUpsampler("jbu", CHANNELS, 2) for _ in range(2))
    torch.nn.init.constant_(next(after.parameters()), 3.0)
    interpolated = torch.nn.functional.interpolate(low[None], (20, 16), mode="bilinear", align_corners=False)[0]
    shown = panels(low, interpolated, guidance, before, after)
    assert [colours.shape for _, colours in shown] == [(5, 4, 3), *[(20, 16, 3)] * 4]
    assert np.array_equal(shown[1][1], shown[4][1])
    assert not np.array_equal(shown[2][1], shown[3][1])
    assert len(draw(shown).axes) == 5
