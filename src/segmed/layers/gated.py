"""A branch whose output is scaled by a gate that starts at zero, so that what it is added to begins unchanged."""

from torch import nn


class Gated(nn.Module):
    """What has such a gate: one number per channel. An optimiser steps gates apart from other weights, since they must
    open within a short training."""

    gate: nn.Parameter
