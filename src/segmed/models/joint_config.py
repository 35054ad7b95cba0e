"""What predicts by several runs: an ensemble and a cascade have configs of their own, of all their networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segmed.core.config import config_from_mapping, config_to_mapping
from segmed.core.errors import ConfigError, DataError, ModelError
from segmed.core.labels import LabelMap
from segmed.core.reading import validated
from segmed.core.stacking import Plane
from segmed.models.checkpoint import RunConfig
from segmed.models.config import ModelConfig
from segmed.models.network_config import NetworkConfig
from segmed.models.run_facts import RunFacts, StoredFacts, facts_from, facts_to_json, require_probability
from segmed.preprocess import PreprocessConfig
from segmed.version import __version__

FORMAT = 1
_AGAIN = "Make the ensemble again."


def require_one_plane(networks: Sequence[tuple[object, NetworkConfig]]) -> None:
    """Raise `ModelError` where networks read volumes along several planes; each comes with what it is called."""
    first, plane = networks[0][0], networks[0][1].preprocess.plane
    for called, network in networks[1:]:
        if network.preprocess.plane != plane:
            raise ModelError(
                f"{called}: reads volumes along preprocess.plane {network.preprocess.plane}, {first} along {plane}. "
                "Join runs of one plane."
            )


@dataclass(frozen=True, kw_only=True)
class JointConfig(RunFacts):
    """What is known of several runs that predict together."""

    networks: tuple[NetworkConfig, ...]
    """Of an ensemble those of its members; of a cascade the dense and the promptable one."""
    labels: LabelMap
    threshold: float = 0.5

    @property
    def plane(self) -> Plane:
        """Along which volumes are cut, the same for all networks."""
        return self.networks[0].preprocess.plane

    def __post_init__(self) -> None:
        """Raise `ModelError` for a threshold that is none, and for networks that read volumes along several planes."""
        require_probability(self.threshold)
        require_one_plane([(f"network {number}", each) for number, each in enumerate(self.networks, start=1)])


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(JointConfig):
    """Runs whose probabilities are averaged."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        networks = [
            {"model": config_to_mapping(each.model), "preprocess": config_to_mapping(each.preprocess)}
            for each in self.networks
        ]
        return {
            "format": FORMAT,
            "segmed": __version__,
            "networks": networks,
            **facts_to_json(self, self.labels, self.threshold),
        }

    @classmethod
    def from_json(cls, value: Any, source: str) -> "EnsembleConfig":
        """Read `to_json`'s values, or those of an earlier version, which kept the first member's network alone.

        Raises `ModelError` or `ConfigError` naming `source`.
        """
        stored = validated(
            value, _Stored, source=source, what="an ensemble's config", remedy=_AGAIN, error=ModelError, version=FORMAT
        )
        networks = stored.networks
        if stored.model is not None and stored.preprocess is not None:
            networks = (_StoredNetwork(stored.model, stored.preprocess),)
        if not networks:
            raise ModelError(f"{source}: names no network. {_AGAIN}")
        try:
            found = tuple(
                NetworkConfig(
                    config_from_mapping(ModelConfig, each.model, source=source),
                    config_from_mapping(PreprocessConfig, each.preprocess, source=source),
                )
                for each in networks
            )
            return cls(networks=found, **facts_from(stored, source))
        except ConfigError:
            raise
        except (DataError, ModelError) as error:  # which know no file
            raise ModelError(f"{source}: {error} {_AGAIN}") from error


@dataclass(frozen=True, kw_only=True)
class CascadedConfig(JointConfig):
    """A dense run that proposes, and a promptable one that refines. It is made of both runs' configs, never stored."""


SystemConfig = RunConfig | EnsembleConfig | CascadedConfig
"""What a predictor is: a run, an ensemble or a cascade."""


@dataclass(frozen=True)
class _StoredNetwork:
    model: dict[str, Any]
    preprocess: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Stored(StoredFacts):
    """What an ensemble's config holds; `model` and `preprocess` in 0.1."""

    networks: tuple[_StoredNetwork, ...] = ()
    model: dict[str, Any] | None = None
    preprocess: dict[str, Any] | None = None
