"""Writes `functions/`: a network whose blocks are functions of the file, with the outputs of onnxruntime.

    python functions.py        (needs onnx and onnxruntime)

In `hostile/` it writes a function that calls itself, and forty that call the next one twice.

`Block` takes an attribute of its caller, by another name, and one with a default; `Twice` calls it two times, the second
time without its optional input. The names of values in the bodies are those of the graph outside as well, and mean others.
"""

import hashlib
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import AttributeProto, TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).parent
ONNX, OWN = helper.make_opsetid("", 17), helper.make_opsetid("own", 1)


def referring(node, name, to, kind):
    attribute = AttributeProto(name=name, ref_attr_name=to, type=kind)
    node.attribute.append(attribute)
    return node


def block():
    conv = helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1])
    norm = helper.make_node("Identity", ["a"], ["b"], name="after")
    relu = referring(helper.make_node("LeakyRelu", ["b"], ["c"], name="relu"), "alpha", "slope", AttributeProto.FLOAT)
    pad = referring(helper.make_node("Softmax", ["c"], ["y"], name="soft"), "axis", "along", AttributeProto.INT)
    return helper.make_function(
        "own", "Block", ["x", "w"], ["y"], [conv, norm, relu, pad], [ONNX], ["slope"],
        [helper.make_attribute("along", 1)],
    )


def twice():
    first = helper.make_node("Block", ["x", "v"], ["a"], name="first", domain="own", slope=0.25)
    second = helper.make_node("Block", ["a", "v"], ["b"], name="second", domain="own", slope=0.5, along=3)
    clip = helper.make_node("Clip", ["b", "low"], ["y"], name="clip")
    return helper.make_function("own", "Twice", ["x", "v", "low"], ["y"], [first, second, clip], [ONNX, OWN])


random = np.random.default_rng(3)
weights = [random.normal(size=shape).astype(np.float32) for shape in ((3, 2, 3, 3), (3, 3, 3, 3))]
nodes = [
    helper.make_node("Block", ["image", "w"], ["a"], name="stem", domain="own", slope=0.1),
    helper.make_node("Twice", ["a", "v"], ["y"], name="body", domain="own"),
]
image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2, 5, 6])
output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 5, 6])
constants = [numpy_helper.from_array(array, name) for array, name in zip(weights, "wv")]
graph = helper.make_graph(nodes, "functions", [image], [output], constants)
model = helper.make_model(graph, opset_imports=[ONNX, OWN], functions=[twice(), block()], ir_version=9)
onnx.checker.check_model(model)

folder = FOLDER / "functions"
folder.mkdir(exist_ok=True)
bytes_ = model.SerializeToString()
(folder / "model.onnx").write_bytes(bytes_)
x = random.normal(size=(1, 2, 5, 6)).astype(np.float32)
[y] = onnxruntime.InferenceSession(bytes_).run(None, {"image": x})
np.save(folder / "input_0.npy", x)
np.save(folder / "output_0.npy", y)

about = json.loads((FOLDER / "about.json").read_text())
about["files"] = [file for file in about["files"] if file["name"] != "functions"]
describe = lambda name, array, file: {"name": name, "dtype": "float32", "shape": list(array.shape), "file": file}
about["files"].append({
    "name": "functions",
    "file": "functions/model.onnx",
    "sha256": hashlib.sha256(bytes_).hexdigest(),
    "licence": "own (random weights)",
    "origin": {"made_by": "functions.py"},
    "producer": "onnx",
    "opset": {"ai.onnx": 17, "own": 1},
    "expect": "run",
    "preprocessing": "seeded noise",
    "inputs": [describe("image", x, "functions/input_0.npy")],
    "outputs": [describe("y", y, "functions/output_0.npy")],
    "gradient": {},
    "tolerance": {},
    "reference": f"onnxruntime {onnxruntime.__version__} float32",
})
(FOLDER / "about.json").write_text(json.dumps(about, indent=1) + "\n")


def hostile(name, functions):
    call = helper.make_node("F0", ["image"], ["y"], domain="own")
    graph = helper.make_graph([call], name, [image], [output])
    model = helper.make_model(graph, opset_imports=[ONNX, OWN], functions=functions, ir_version=9)
    (FOLDER / "hostile" / f"{name}.onnx").write_bytes(model.SerializeToString())


def calling(index, others):
    nodes = [helper.make_node(other, [f"v{place}"], [f"v{place + 1}"], domain="own") for place, other in enumerate(others)]
    return helper.make_function("own", f"F{index}", ["v0"], [f"v{len(others)}"], nodes, [ONNX, OWN])


hostile("function_recursive", [calling(0, ["F0"])])
last = helper.make_function("own", "F40", ["v0"], ["v1"], [helper.make_node("Relu", ["v0"], ["v1"])], [ONNX])
hostile("function_doubling", [*(calling(index, [f"F{index + 1}"] * 2) for index in range(40)), last])
