"""Promptable models: SAM and MedSAM on transformers' `SamModel`, and sam-tiny, a compact member of the family."""
