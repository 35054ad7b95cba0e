"""Which arithmetic is chosen on which machine."""

from pathlib import Path

import pytest
import torch

from segmed.training import precision
from segmed.training.precision import choose_precision

AMD_ZEN_5 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\n"
AMD_ZEN_4 = AMD_ZEN_3 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
AMD_ZEN_2 = "vendor_id\t: AuthenticAMD\ncpu family\t: 23\n"
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\n"


def cpu(monkeypatch: pytest.MonkeyPatch, folder: Path, cpuinfo: str, *, amx: bool, avx512_bf16: bool) -> None:
    """Make the machine look like a CPU of this kind without a GPU."""
    path = folder / "cpuinfo"
    path.write_text(cpuinfo)
    family = precision._amd_family(path)
    monkeypatch.setattr(precision, "_amd_family", lambda: family)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)


@pytest.mark.parametrize(
    ("cpuinfo", "amx", "avx512_bf16", "name"),
    [
        (INTEL, True, True, "bf16-mixed"),
        (INTEL, False, True, "32-true"),
        (AMD_ZEN_5, False, True, "bf16-mixed"),
        (AMD_ZEN_5, False, False, "32-true"),
        (AMD_ZEN_4, False, True, "bf16-mixed"),
        (AMD_ZEN_3, False, False, "32-true"),
        (AMD_ZEN_2, False, True, "32-true"),
    ],
)
def test_a_cpu_gets_bf16_only_where_it_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, amx: bool, avx512_bf16: bool, name: str
) -> None:
    cpu(monkeypatch, tmp_path, cpuinfo, amx=amx, avx512_bf16=avx512_bf16)
    assert choose_precision().name == name


def test_what_is_asked_for_is_taken_whatever_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu(monkeypatch, tmp_path, INTEL, amx=True, avx512_bf16=True)
    assert choose_precision("32").name == "32-true"


def test_a_system_that_hides_its_processor_is_no_amd(tmp_path: Path) -> None:
    assert precision._amd_family(tmp_path / "none") == 0
