"""GAFL, the global adaptive filtering layer: a learned frequency filter in front of any network, at any size.

Paper: Shipitsin, Bespalov and Dylov, "GAFL: Global adaptive filtering layer for computer vision", Computer Vision and
Image Understanding 223, 103519 (2022), arXiv:2010.01177. Reference: cviaai/GAFL@2962aa5 models/adaptive_layer.py (MIT);
nothing is copied from it. `layer` says where we differ and why. This is the package's door: nothing outside imports
what lies behind it (an import contract).
"""

from segmed.layers.gafl.adaptive import ring_weights
from segmed.layers.gafl.config import GaflConfig, build_gafl
from segmed.layers.gafl.frequencies import HIGHEST, hats, radius
from segmed.layers.gafl.insert import Filtered, gain_parameters, with_gafl
from segmed.layers.gafl.layer import GAFL, MODES
from segmed.layers.gafl.modes import ACTIVATIONS
from segmed.layers.gafl.parametrisations import IMAGE_SIZE, PARAMETRISATIONS, Free

__all__ = [
    "ACTIVATIONS",
    "GAFL",
    "HIGHEST",
    "IMAGE_SIZE",
    "MODES",
    "PARAMETRISATIONS",
    "Filtered",
    "Free",
    "GaflConfig",
    "build_gafl",
    "gain_parameters",
    "hats",
    "radius",
    "ring_weights",
    "with_gafl",
]
