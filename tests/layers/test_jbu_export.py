"""The upsampler passes through torch's compiler and exporter.

Runs in a process of its own, as users run it: without the shape checks of the tests, which no tracer can follow.
"""

import importlib.util
import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import sys

import torch
from segmed.layers import JBUStack
from segmed.layers.jbu_reference import PlainJBU

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
facts = {
    "compiled": float((compiled[0] - eager[0]).abs().max()),
    "compiled gradient": float((compiled[1] - eager[1]).abs().max()),
    "exported": float((whole.module()(source, guidance) - eager[0]).abs().max()),
    "exported plain": float((plain.module()(source, guidance) - eager[0]).abs().max()),
    "plain operators": sorted({str(n.target).split(".")[0] for n in plain.graph.nodes if n.op == "call_function"}),
}
if len(sys.argv) > 1:
    import onnxruntime

    torch.onnx.export(plain, dynamo=True, verbose=False).save(sys.argv[1])
    session = onnxruntime.InferenceSession(sys.argv[1])
    names = [value.name for value in session.get_inputs()]
    inputs = (source.detach().numpy(), guidance.numpy())
    (result,) = session.run(None, dict(zip(names, inputs, strict=True)))
    facts["onnx"] = float((torch.from_numpy(result) - eager[0]).abs().max())
print(json.dumps(facts))
"""

HAS_ONNX = all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    graph = [str(tmp_path_factory.mktemp("onnx") / "jbu.onnx")] if HAS_ONNX else []
    done = subprocess.run([sys.executable, "-c", SCRIPT, *graph], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


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


@pytest.mark.slow
@pytest.mark.skipif(not HAS_ONNX, reason="needs onnx, onnxscript and onnxruntime")
def test_the_plain_form_gives_the_same_numbers_as_an_onnx_graph(facts: dict[str, float]) -> None:
    assert facts["onnx"] <= 1e-4
