"""FeatUp's published JBU weights, by their own key names.

FeatUp's checkpoints (mhamilton723/FeatUp@6b5a6c0, MIT) hold the whole training module: the upsampler's keys begin with
`upsampler.`, and those of the downsampler, the scale net and the encoder's norm lie beside them. We take the upsampler
and name the rest. We load tensors only and never run what a file may hold besides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from segmed.core.errors import ModelError
from segmed.layers.featup.stack import JBUStack
from segmed.layers.weight_files import of_another_type, read_pickled, read_safetensors

PREFIXES = ("module.", "model.", "upsampler.")
PROJECTION = "fixup_proj.1.weight"


@dataclass(frozen=True)
class LoadReport:
    """What became of the keys of a checkpoint."""

    loaded: tuple[str, ...]
    """Parameters of the stack that now hold the file's values."""
    missing: tuple[str, ...]
    """Parameters of the stack that the file does not hold; they keep their values."""
    unexpected: tuple[str, ...]
    """Keys of the file that the stack has no place for, as the file writes them."""


def load_published(stack: JBUStack, weights: Path | str | Mapping[str, object], *, strict: bool = True) -> LoadReport:
    """Load FeatUp's weights into `stack`, and turn off `stack.renormalise`, as they were trained without it.

    `weights` is a file (.safetensors, or torch's, read with `weights_only`) or a state dict, maybe under the key
    "state_dict". Prefixes `upsampler.`, `model.` and `module.` are cut off. Raises `ModelError` if the file cannot be
    read, if weights are of another shape or not finite, and, with `strict`, if any parameter is missing; the stack is
    then unchanged.
    """
    name, state = read_state(weights)
    found, unexpected = sort_keys(name, state, set(stack.state_dict()))
    missing = tuple(key for key in stack.state_dict() if key not in found)
    if not found:
        raise ModelError(f"{name} holds no JBU weights (up1.range_temp, ..., {PROJECTION}); its keys are {few(state)}.")
    check_shapes(name, found, stack)
    if missing and strict:
        raise ModelError(
            f"{name} lacks {len(missing)} of the {len(missing) + len(found)} JBU parameters: {few(missing)}. "
            f"Build JBUStack with as many stages as the file holds, or pass strict=False to keep these as they are."
        )
    stack.load_state_dict(found, strict=False)
    stack.renormalise = False
    return LoadReport(tuple(found), missing, unexpected)


def read_state(weights: Path | str | Mapping[str, object]) -> tuple[str, dict[str, Tensor]]:
    """A name for messages, and the tensors by key."""
    if isinstance(weights, Mapping):
        name, content = "The state dict", dict(weights)
    else:
        name, content = str(weights), read_file(Path(weights))
    inner = content.get("state_dict", content)
    if not isinstance(inner, Mapping):
        raise ModelError(f"{name}: expected tensors by name under 'state_dict', found {type(inner).__name__}.")
    return name, {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}


def read_file(path: Path) -> dict[str, object]:
    """The content of a checkpoint file; tensors only."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected FeatUp's JBU weights.")
    return dict(read_safetensors(path)) if path.suffix == ".safetensors" else read_pickled(path)


def sort_keys(name: str, state: Mapping[str, Tensor], known: set[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors that have a place, by our key; and the keys that have none."""
    found: dict[str, Tensor] = {}
    unexpected = []
    for key, value in state.items():
        ours = without_prefixes(key)
        if ours not in known:
            unexpected.append(key)
        elif ours in found:
            raise ModelError(f"{name} holds {ours} twice, under different prefixes; keep one of them.")
        else:
            found[ours] = value
    return found, tuple(unexpected)


def without_prefixes(key: str) -> str:
    """`model.upsampler.up1.range_temp` as `up1.range_temp`."""
    while key.startswith(PREFIXES):
        key = key.split(".", 1)[1]
    return key


def check_shapes(name: str, found: Mapping[str, Tensor], stack: JBUStack) -> None:
    """Raise `ModelError` for weights that do not fit, those of the wrong number of channels first."""
    projection = found.get(PROJECTION)
    if projection is not None and projection.ndim == 4 and projection.shape[0] != stack.channels:
        channels = projection.shape[0]
        raise ModelError(
            f"{name} holds JBU weights for {channels} channels and the stack has {stack.channels}; "
            f"build JBUStack({channels}) for the encoder they were trained on."
        )
    for key, expected in stack.state_dict().items():
        if key in found and found[key].shape != expected.shape:
            shape, ours = tuple(found[key].shape), tuple(expected.shape)
            raise ModelError(f"{name}: {key} has shape {shape}; expected {ours}. These are no FeatUp JBU weights.")
        if key in found and not bool(found[key].isfinite().all()):
            raise ModelError(f"{name}: {key} holds nan or infinite values; download the file again.")
    if others := of_another_type(stack.state_dict(), found):
        raise ModelError(f"{name}: has weights of whole numbers or the like: {few(tuple(others))}. Download it anew.")


def few(keys: Mapping[str, Tensor] | tuple[str, ...]) -> str:
    """The first keys, and how many more."""
    names = list(keys)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
