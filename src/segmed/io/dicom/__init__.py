"""DICOM (extra `dicom`): series of slices and enhanced images as volumes; segmentations and structure sets as masks.

Headers hold what identifies a patient. Errors and warnings name files and series numbers, and quote nothing else.
"""
