"""Prediction with a trained model: arrays in, masks out, on the grid they came from."""

from segmed.inference.predictor import Predictor, load

__all__ = ["Predictor", "load"]
