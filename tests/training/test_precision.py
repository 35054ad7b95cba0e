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


def cpu(
    monkeypatch: pytest.MonkeyPatch, folder: Path, cpuinfo: str, *, amx: bool, avx512_bf16: bool, speed: float = 0.75
) -> None:
    """Make the machine look like a CPU of this kind without a GPU; `speed` is what a measurement there would find."""
    monkeypatch.setattr(precision, "bf16_speed", lambda: speed)
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


@pytest.mark.parametrize(("speed", "name"), [(1.6, "bf16-mixed"), (1.2, "32-true"), (0.15, "32-true")])
def test_where_instruction_sets_do_not_decide_a_measurement_does_and_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speed: float, name: str
) -> None:
    cpu(monkeypatch, tmp_path, "Processor: hidden", amx=False, avx512_bf16=True, speed=speed)
    chosen = choose_precision()
    assert chosen.name == name
    assert f"bf16 is {speed:.2f} times as fast as in fp32" in chosen.reason


def test_processes_that_train_together_do_not_measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu(monkeypatch, tmp_path, "Processor: hidden", amx=False, avx512_bf16=True, speed=9.0)
    assert choose_precision(measured=False).name == "32-true"


def test_a_cpu_without_bf16_is_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu(monkeypatch, tmp_path, AMD_ZEN_2, amx=False, avx512_bf16=False, speed=9.0)
    monkeypatch.setattr(precision, "_computes_bf16", lambda: False)
    chosen = choose_precision()
    assert (chosen.name, "emulated" in chosen.reason) == ("32-true", True)


def test_the_measurement_is_of_steps_that_run_and_leaves_random_numbers_alone() -> None:
    precision.bf16_speed.cache_clear()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert 0.01 < precision.bf16_speed(repeats=1) < 20
    assert torch.equal(torch.get_rng_state(), before)
    precision.bf16_speed.cache_clear()


def test_what_is_asked_for_is_taken_whatever_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu(monkeypatch, tmp_path, INTEL, amx=True, avx512_bf16=True)
    assert choose_precision("32").name == "32-true"


def test_a_system_that_hides_its_processor_is_no_amd(tmp_path: Path) -> None:
    assert precision._amd_family(tmp_path / "none") == 0
