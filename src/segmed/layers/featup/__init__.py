"""FeatUp: feature maps upsampled under guidance of the image, by joint bilateral upsampling (JBU) and by its controls.

Paper: Fu et al., "FeatUp: A Model-Agnostic Framework for Features at Any Resolution", ICLR 2024, arXiv:2403.10516.
Reference: mhamilton723/FeatUp@6b5a6c0 (MIT); nothing is copied from it. `jbu` reads like the paper, `stack` runs the
fast form of the same numbers (`fast`, `windows`), `guided` puts JBU and its controls behind one interface. This is the
package's door: nothing outside imports what lies behind it (an import contract).
"""

from segmed.layers.featup.checkpoint import load_published
from segmed.layers.featup.guided import (
    KINDS,
    BilinearUpsample,
    Guidance,
    GuidedKind,
    GuidedUpsampler,
    JBUUpsample,
    Upsampler,
    build_upsample,
)
from segmed.layers.featup.stack import JBUStack, Kernels

__all__ = [
    "KINDS",
    "BilinearUpsample",
    "Guidance",
    "GuidedKind",
    "GuidedUpsampler",
    "JBUStack",
    "JBUUpsample",
    "Kernels",
    "Upsampler",
    "build_upsample",
    "load_published",
]
