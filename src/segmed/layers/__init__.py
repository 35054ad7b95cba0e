"""Blocks that read like their papers, with fast forms proved equal by tests."""

from segmed.layers.featup import JBUStack as JBUStack
from segmed.layers.featup import Kernels as Kernels
from segmed.layers.gafl import GAFL as GAFL
