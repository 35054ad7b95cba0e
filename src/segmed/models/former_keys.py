"""Names of weights that earlier versions stored, read for the present ones in one place."""

import re
from collections.abc import Mapping

from torch import Tensor

FORMER_MODULES = {"raiser": "upsampler", "raises": "upsamplers"}
"""What 0.1 called the upsampler of a promptable model's embedding and of its fine branch, and the stages of a guided
decoder and of the bilinear control, by what they are called now."""
_FORMER = re.compile(rf"(?<![^.])({'|'.join(FORMER_MODULES)})(?=\.)")


def present_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of this version.

    Args:
        tensors: By the names of the file, in a run's weights or in a checkpoint to resume from.

    Returns:
        The same tensors in their order.
    """
    return {_FORMER.sub(lambda found: FORMER_MODULES[found[1]], name): tensor for name, tensor in tensors.items()}
