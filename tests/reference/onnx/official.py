"""Packs the official ONNX backend tests into one file: official.py [--all] OUT

Needs `pip install onnx==1.23`. Takes the forward cases in f32 whose operators `supported.rs` lists as supported; without
--all only the small ones, which the repository keeps. The format is a list of cases, each

    name, number of files, then for each file its name and its bytes

where a text or bytes stand after their length, and every number is 32 bits, little endian. The files of a case are
`model.onnx`, `input_0.pb`, `output_0.pb` and so on, and `tolerance` with two numbers as text, relative and absolute.
"""
import os
import re
import struct
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_node_model_tests

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = 2500


def supported():
    source = open(os.path.join(HERE, "../../../src/model/graph/onnx/supported.rs")).read()
    return set(re.findall(r'"(\w+)"', source))


def operators(graph):
    for node in graph.node:
        yield node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from operators(attribute.g)


FLOATS = {TensorProto.FLOAT}
OTHERS = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8}


def in_scope(model, known):
    if model.functions or not set(operators(model.graph)) <= known:
        return False
    floats = FLOATS | {TensorProto.DOUBLE} if "Einsum" in operators(model.graph) else FLOATS
    kinds = [value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]]
    return all(kind in floats | OTHERS for kind in kinds)


# What is trained, a mask that only training needs, regions by maxima, and grids over volumes.
OUT_OF_SCOPE = re.compile("training|dropout.*mask|roialign_mode_max|gridsample_volumetric")


def tensor(value, info):
    value = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), info.name)
    value.name = info.name
    return value.SerializeToString()


def node_cases():
    for case in load_node_model_tests():
        inputs, outputs = case.data_sets[0]
        graph = case.model.graph
        try:
            files = {f"input_{i}.pb": tensor(v, graph.input[i]) for i, v in enumerate(inputs)}
            files |= {f"output_{i}.pb": tensor(v, graph.output[i]) for i, v in enumerate(outputs)}
        except Exception:
            continue  # sequences and optional values
        yield case.name, case.model, files, (case.rtol, case.atol)


def data_cases():
    root = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data")
    for kind in ("pytorch-converted", "pytorch-operator", "simple"):
        for name in sorted(os.listdir(os.path.join(root, kind))):
            folder = os.path.join(root, kind, name)
            model = onnx.load(os.path.join(folder, "model.onnx"))
            data = os.path.join(folder, "test_data_set_0")
            if os.path.isdir(data):
                yield name, model, {f: open(os.path.join(data, f), "rb").read() for f in os.listdir(data)}, (1e-3, 1e-6)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(value)) + value


everything = "--all" in sys.argv
known, packed, count = supported(), [], 0
for name, model, files, (rtol, atol) in [*node_cases(), *data_cases()]:
    if OUT_OF_SCOPE.search(name) or not in_scope(model, known):
        continue
    files = {"model.onnx": model.SerializeToString(), "tolerance": f"{rtol} {atol}", **files}
    case = text(name) + struct.pack("<I", len(files)) + b"".join(text(k) + text(v) for k, v in sorted(files.items()))
    if everything or len(case) <= SMALL:
        packed.append(case)
        count += 1
open(sys.argv[-1], "wb").write(b"".join(packed))
print(count, "cases")
