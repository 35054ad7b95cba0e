"""Which channels of the data a network reads, where the recipe does not say it."""

import dataclasses

import numpy as np

from segmed.core.errors import ConfigError, DataError
from segmed.core.wording import plural
from segmed.data.decoded import DecodedDataset
from segmed.models.families import FAMILIES
from segmed.training.recipe import Recipe

PICTURE = 3
"""Channels that published weights of promptable models, and ImageNet's normalisation, are of."""


def fit_channels(recipe: Recipe, data: DecodedDataset) -> Recipe:
    """The recipe with the channels that it reads: those it names, else all that the data have.

    Where three are needed, fewer are repeated in turn; which of more are read is for the user to say. Of PNG the
    transparency is left out.

    Raises:
        DataError: An image lacks a channel that the recipe names.
        ConfigError: The recipe's model has another number of channels than its data, or needs three of more.
    """
    slice_id = min((record.slice_id for record in data.dataset.records), key=lambda each: data.shape(each)[2])
    count, preprocess = data.shape(slice_id)[2], recipe.preprocess
    if preprocess.channels is not None:
        if max(preprocess.channels) >= count:
            raise DataError(
                f"{slice_id}: has {plural(count, 'channel')}, but the recipe reads {preprocess.channels}. Leave "
                "preprocess.channels and model.channels out, or set them to what the data has."
            )
        return recipe
    if _has_transparency(data, slice_id):
        count -= 1
    read = tuple(range(count))
    if needs_a_picture(recipe) and count != PICTURE:
        if count > PICTURE:
            raise ConfigError(
                f"{recipe.model.name} reads three channels here, and the data have {count}. Choose three: --set "
                "'preprocess.channels=[0,1,2]'."
            )
        read = tuple((list(read) * PICTURE)[:PICTURE])
    inputs = len(read) * preprocess.slices
    if recipe.model.channels not in (inputs, PICTURE, PICTURE * preprocess.slices):
        raise ConfigError(
            f"model.channels is {recipe.model.channels}, but the data have {plural(count, 'channel')}, which make "
            f"{inputs}. Leave it out, or say with preprocess.channels which are read."
        )
    return dataclasses.replace(
        recipe,
        preprocess=dataclasses.replace(preprocess, channels=read),
        model=dataclasses.replace(recipe.model, channels=inputs),
    )


def needs_a_picture(recipe: Recipe) -> bool:
    """Whether the recipe's network or preprocessing is of three channels alone."""
    row = FAMILIES.get(recipe.model.name)
    weights = "" if row is None else row.weights
    published = weights == "hub" and recipe.model.encoder_weights != "none"
    return published or recipe.preprocess.of_a_picture


def channels_note(recipe: Recipe) -> str:
    """What a fitted recipe reads, for the log."""
    channels = list(recipe.preprocess.channels or ())
    return f"reads channels {channels} of the data, model.channels {recipe.model.channels}"


def repeated_note(recipe: Recipe) -> str | None:
    """What to say where channels of a fitted recipe were repeated, since three are needed; None else."""
    channels = list(recipe.preprocess.channels or ())
    if len(set(channels)) == len(channels):
        return None
    return (
        f"{recipe.model.name} reads three channels here, and the data have fewer: preprocess.channels is {channels}, "
        "some of them twice or more."
    )


def _has_transparency(data: DecodedDataset, slice_id: str) -> bool:
    record = data.dataset.by_slice_id()[slice_id]
    is_png = record.image.suffix.lower() == ".png" and np.dtype(data.dtype(slice_id)).kind == "u"
    return is_png and data.shape(slice_id)[2] in (2, 4)
