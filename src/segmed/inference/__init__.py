"""Apply trained models, without the training engine."""

from segmed.inference.base import VolumePredictor
from segmed.inference.ensemble import EnsemblePredictor
from segmed.inference.loading import load
from segmed.inference.predictor import Predictor
from segmed.inference.slices import PatientSlices

__all__ = ["EnsemblePredictor", "PatientSlices", "Predictor", "VolumePredictor", "load"]
