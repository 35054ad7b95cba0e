"""A form of the layer that exporters understand: no complex numbers, no FFT, nothing that learns."""

import copy

import torch
from torch import nn

from segmed.layers.gafl.adaptive import RadialAdaptation
from segmed.layers.gafl.fixed import FixedFilter
from segmed.layers.gafl.layer import GAFL
from segmed.layers.gafl.parametrisations import Fixed, Free, LowRank, Radial
from segmed.layers.gafl.transforms import MatrixDFT


@torch.no_grad()
def exportable(module: nn.Module, height: int, width: int) -> nn.Module:
    """A copy of `module`, itself a filter or a network with filters, for `torch.onnx.export` and its like.

    Every `GAFL` and `FixedFilter` in it takes images (or maps) of `height` x `width` only, with the DFT as products
    with constant matrices: the FFT operators of PyTorch do not export. Numbers agree with the original's to about
    1e-5 of the largest value; on a GPU keep the products in full float32.
    """
    module = copy.deepcopy(module)
    for part in list(module.modules()):
        if isinstance(part, GAFL | FixedFilter):
            _make_exportable(part, height, width)
    return module


def _make_exportable(part: GAFL | FixedFilter, height: int, width: int) -> None:
    padded = (height + 2 * part.padding, width + 2 * part.padding)
    device = next((values.device for values in (*part.parameters(), *part.buffers())), None)
    part.transform = MatrixDFT(*padded).to(device)
    if isinstance(part, FixedFilter):
        return
    part.only_size = (height, width)
    adaptation = getattr(part.mode, "adaptation", None)
    if isinstance(adaptation, RadialAdaptation):
        adaptation.keep_rings(*padded)
    for name, field in list(part.mode.named_children()):
        if isinstance(field, Radial | Free | LowRank):
            setattr(part.mode, name, Fixed(field(*padded, torch.float32)))
