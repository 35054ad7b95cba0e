"""Read files of weights from others: named tensors alone, never objects, and no more memory than the file says."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from segmed.core.errors import ModelError
from segmed.core.escaping import shortened, shortened_text


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; raises `ModelError` where it cannot be read."""
    try:
        return dict(load_file(path))
    except Exception as error:  # of the system, of safetensors, and of torch for dtypes that it does not have
        raise _unreadable(path, error) from error


def read_pickled(path: Path) -> dict[str, Any]:
    """What a checkpoint of torch holds by name, read with `weights_only`: nothing in it is run.

    Args:
        path: The file.

    Returns:
        Tensors, and whatever else the file names: numbers, texts, further mappings.

    Raises:
        ModelError: The file cannot be read, holds objects, unpacks to more than its size, or holds a tensor that is
            larger than what is stored of it.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                packed = any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist())
            if packed:
                raise ModelError(f"{path}: is a compressed archive, which torch does not write. Get the original file.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: cannot be read as tensors alone: it is damaged, or holds objects that would run code. "
            "Get the original, or save its state dict anew."
        ) from error
    except Exception as error:  # a damaged pickle can end in any error of Python's
        raise _unreadable(path, error) from error
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not named tensors. Give a checkpoint.")
    _require_whole(path, content)
    return dict(content)


def _require_whole(path: Path, content: Mapping[Any, Any], depth: int = 0) -> None:
    """Raise `ModelError` for a tensor that is not laid out in memory of its own size."""
    for name, value in content.items():
        if isinstance(value, Mapping) and depth < 3:
            _require_whole(path, value, depth + 1)
        if not isinstance(value, Tensor):
            continue
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ModelError(f"{path}: {shortened(name)} is no plain tensor. Save the state dict anew.")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ModelError(f"{path}: {shortened(name)} is larger than what is stored of it. Get the original file.")


def _unreadable(path: Path, error: Exception) -> ModelError:
    reason = shortened_text(" ".join(str(error).split())) or type(error).__name__
    return ModelError(f"{path}: weights cannot be read ({reason}). Get the file again.")


def require_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise `ModelError` that names the first weights with NaN or infinity in them; masks would be empty in silence."""
    for name, tensor in tensors.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{source}: weights {name} are not finite (NaN or infinity). The file is damaged, or the training "
                "diverged: copy it again, or train again with a lower optim.learning_rate."
            )


def of_another_type(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Names of weights that are whole numbers in place of floating ones, or the reverse; half precision is floating."""

    def kind(tensor: Tensor) -> str:
        return "floating" if tensor.is_floating_point() else str(tensor.dtype)

    return sorted(name for name in own.keys() & found.keys() if kind(own[name]) != kind(found[name]))
