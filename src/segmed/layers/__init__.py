"""Blocks that read like their papers, with fast forms proved equal by tests."""

from segmed.layers.gafl import GAFL as GAFL
from segmed.layers.jbu_stack import JBUStack as JBUStack
from segmed.layers.jbu_stack import Kernels as Kernels
