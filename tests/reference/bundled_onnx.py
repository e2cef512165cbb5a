"""Exports the bundled networks to ONNX: bundled_onnx.py FOLDER

Needs torch, onnx and safetensors. The networks are written in PyTorch's own modules with the bundled weights; tests compare
the files with the networks of the crate when `VIS_BUNDLED_ONNX` names the folder. The pixels are standardised outside, as
the readers of a file do it.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

CRATES = pathlib.Path(__file__).parent / "../../crates"


def of(network):
    """The weights of a network, of one file or of the parts that it is cut into."""
    files = sorted(CRATES.glob(f"vis-weights*/data/{network}*.safetensors"))
    return {name: tensor.float() for file in files for name, tensor in load_file(file).items()}


class Same(nn.Module):
    """A convolution with TensorFlow's padding."""

    def __init__(self, tensors, name, stride=1, rectified=True):
        super().__init__()
        self.weight = nn.Parameter(tensors[f"{name}.weight"])
        self.bias = nn.Parameter(tensors[f"{name}.bias"])
        self.stride, self.rectified = stride, rectified

    def forward(self, x):
        kernel, sizes = self.weight.shape[-1], x.shape[2:]
        total = [max((-(-size // self.stride) - 1) * self.stride + kernel - size, 0) for size in sizes]
        x = functional.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
        groups = x.shape[1] // self.weight.shape[1]
        x = functional.conv2d(x, self.weight, self.bias, self.stride, groups=groups)
        return functional.relu6(x) if self.rectified else x


class Inverted(nn.Module):
    def __init__(self, tensors, name, stride):
        super().__init__()
        self.expand = Same(tensors, f"{name}.expand") if f"{name}.expand.weight" in tensors else None
        self.depthwise = Same(tensors, f"{name}.depthwise", stride)
        self.project = Same(tensors, f"{name}.project", rectified=False)

    def forward(self, x):
        y = self.expand(x) if self.expand is not None else x
        y = self.project(self.depthwise(y))
        return x + y if x.shape == y.shape else y


def lite0():
    tensors = of("efficientnet_lite0")
    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    blocks = [Inverted(tensors, f"blocks.{index}", strides.get(index, 1)) for index in range(16)]
    dense = nn.Linear(1280, 1000)
    dense.load_state_dict({name: tensors[f"predictions.{name}"] for name in ("weight", "bias")})
    trunk = [Same(tensors, "stem", 2), *blocks, Same(tensors, "head")]
    return nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense), (1, 3, 224, 224)


def plain(tensors, names, pool_after):
    layers = []
    for name in names:
        weight = tensors[f"{name}.weight"]
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        conv.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
        layers += [conv, nn.ReLU()] + ([nn.MaxPool2d(2)] if name in pool_after else [])
    return layers


def vgg16():
    tensors = of("vgg16_conv")
    counts = (2, 2, 3, 3, 3)
    names = [f"block{block}_conv{number}" for block, count in enumerate(counts, 1) for number in range(1, count + 1)]
    last = {f"block{block}_conv{count}" for block, count in enumerate(counts[:-1], 1)}
    return nn.Sequential(*plain(tensors, names, last)), (1, 3, 224, 224)


def digits():
    tensors = of("mnist_cnn")
    names = [f"conv_layers.{index}" for index in (0, 3, 6)]
    layers = [*plain(tensors, names, set(names)), nn.Flatten()]
    for name in ("fc_layers.0", "fc_layers.2"):
        weight = tensors[f"{name}.weight"]
        dense = nn.Linear(weight.shape[1], weight.shape[0])
        dense.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
        layers += [dense, nn.ReLU()]
    return nn.Sequential(*layers[:-1]), (1, 1, 28, 28)


folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for name, (network, shape) in {"vgg16": vgg16(), "lite0": lite0(), "digits": digits()}.items():
    file = folder / f"{name}.onnx"
    torch.onnx.export(network.eval(), torch.zeros(shape), file, dynamo=False, opset_version=17)
    print(file)
