"""The upsampler passes through torch's compiler and exporter.

Runs in a process of its own, as users run it: without the shape checks of the tests, which no tracer can follow.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import torch
from segmed.layers import JBUStack
from segmed.layers.jbu_forms import PlainJBU

torch.manual_seed(0)
stack = JBUStack(2, 1).eval()
source, guidance = torch.randn(1, 2, 2, 3, requires_grad=True), torch.randn(1, 3, 4, 6)

def result_and_gradient(run):
    result = run(source, guidance)
    return result.detach(), torch.autograd.grad(result.square().sum(), source)[0]

eager, compiled = (
    result_and_gradient(run) for run in (stack, torch.compile(stack, fullgraph=True, backend="aot_eager"))
)
plain = torch.export.export(PlainJBU(stack), (source, guidance))
whole = torch.export.export(stack, (source, guidance))
print(json.dumps({
    "compiled": float((compiled[0] - eager[0]).abs().max()),
    "compiled gradient": float((compiled[1] - eager[1]).abs().max()),
    "exported": float((whole.module()(source, guidance) - eager[0]).abs().max()),
    "exported plain": float((plain.module()(source, guidance) - eager[0]).abs().max()),
    "plain operators": sorted({str(n.target).split(".")[0] for n in plain.graph.nodes if n.op == "call_function"}),
}))
"""


@pytest.fixture(scope="module")
def facts() -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_stack_compiles_without_graph_breaks_to_the_same_numbers(facts: dict[str, float]) -> None:
    assert facts["compiled"] <= 1e-6
    assert facts["compiled gradient"] <= 1e-5


@pytest.mark.slow
def test_the_stack_exports_with_our_operators_in_it(facts: dict[str, float]) -> None:
    assert facts["exported"] <= 1e-6


@pytest.mark.slow
def test_the_plain_form_exports_to_torchs_own_operators_alone(facts: dict[str, object]) -> None:
    assert facts["plain operators"] == ["aten"]
    assert isinstance(facts["exported plain"], float)
    assert facts["exported plain"] <= 1e-5
