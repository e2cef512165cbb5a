"""The networks and operations that `cargo bench --bench pytorch` compares besides its own, with random weights.

Usage: networks.py NAME FILE     writes one as an ONNX file

Needs torchvision, and timm for the vision transformer.
"""

import os
import sys

# What is imported below looks for a module called `pytorch`, which must not be the script beside this one.
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != os.path.dirname(os.path.abspath(__file__))]

import torch
import torch.nn.functional as F
from torch import nn


class Function(nn.Module):
    """A function as a module, with the parameters that it uses."""

    def __init__(self, function, *weights):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(weights)

    def forward(self, x):
        return self.function(x, *self.weights)


def attention(x):
    return torch.softmax(x @ x.transpose(2, 3) / 8, 3) @ x


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of images, as in ConvNeXt."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convolution(inputs, outputs, kernel, size, **settings):
    return lambda: nn.Conv2d(inputs, outputs, kernel, **settings), (inputs, size, size)


# Module and shape of its input.
OPERATIONS = {
    "7x7/2 stem, 3 to 64 at 224": convolution(3, 64, 7, 224, stride=2, padding=3),
    "3x3, 64 at 56": convolution(64, 64, 3, 56, padding=1),
    "3x3/2, 128 at 56": convolution(128, 128, 3, 56, stride=2, padding=1),
    "3x3/2, 512 at 14": convolution(512, 512, 3, 14, stride=2, padding=1),
    "1x1/2, 256 to 512 at 56": convolution(256, 512, 1, 56, stride=2),
    "1x1, 256 to 64 at 56": convolution(256, 64, 1, 56),
    "1x1, 512 to 2048 at 7": convolution(512, 2048, 1, 7),
    "5x5, 48 to 64 at 28": convolution(48, 64, 5, 28, padding=2),
    "3x3 in 32 groups, 128 at 56": convolution(128, 128, 3, 56, padding=1, groups=32),
    "3x3/2 in 32 groups, 256 at 56": convolution(256, 256, 3, 56, stride=2, padding=1, groups=32),
    "7x7 depthwise, 96 at 56": convolution(96, 96, 7, 56, padding=3, groups=96),
    "3x3 dilated by 2, 256 at 28": convolution(256, 256, 3, 28, padding=2, dilation=2),
    "1x7, 192 at 17": convolution(192, 192, (1, 7), 17, padding=(0, 3)),
    "patches 4x4/4, 3 to 96 at 224": convolution(3, 96, 4, 224, stride=4),
    "patches 16x16/16, 3 to 384 at 224": convolution(3, 384, 16, 224, stride=16),
    "patches 2x2/2, 96 to 192 at 56": convolution(96, 192, 2, 56, stride=2),
    "transposed 2x2/2, 256 to 128 at 28": (lambda: nn.ConvTranspose2d(256, 128, 2, 2), (256, 28, 28)),
    "max pool 3x3/2, 64 at 112": (lambda: nn.MaxPool2d(3, 2, 1), (64, 112, 112)),
    "SiLU, 64 at 112": (nn.SiLU, (64, 112, 112)),
    "product 384 to 1536 of 197, and GELU": (
        lambda: Function(lambda x, w: F.gelu(x @ w), torch.rand(384, 1536) - 0.5), (197, 384)),
    "attention, 6 heads of 197 by 64": (lambda: Function(attention), (6, 197, 64)),
    "layer norm over channels, 96 at 56": (lambda: LayerNorm2d(96), (96, 56, 56)),
}


def torchvision_model(name):
    def make():
        import torchvision
        settings = {"init_weights": True} if name == "inception_v3" else {}
        return torchvision.models.get_model(name, weights=None, **settings)
    return make


def vit_small():
    import timm
    return timm.create_model("vit_small_patch16_224", pretrained=False)


# Module, the side of its images, and the layer of its class activation map.
NETWORKS = {
    "resnet50": (torchvision_model("resnet50"), 224, "layer4"),
    "mobilenet_v2": (torchvision_model("mobilenet_v2"), 224, "features"),
    "mobilenet_v3_small": (torchvision_model("mobilenet_v3_small"), 224, "features"),
    "efficientnet_b0": (torchvision_model("efficientnet_b0"), 224, "features"),
    "densenet121": (torchvision_model("densenet121"), 224, "features"),
    "inception_v3": (torchvision_model("inception_v3"), 299, "Mixed_7c"),
    "convnext_tiny": (torchvision_model("convnext_tiny"), 224, "features"),
    "vit_small": (vit_small, 224, "blocks.11.norm1"),
    "swin_t": (torchvision_model("swin_t"), 224, "norm"),
}


def network(name):
    """The network, the side of its images, and the layer of its class activation map."""
    make, side, layer = NETWORKS[name]
    torch.manual_seed(0)
    return make().eval().requires_grad_(False), side, layer


def operation(name):
    """The operation and the shape of its input."""
    make, shape = OPERATIONS[name]
    torch.manual_seed(0)
    return make().eval().requires_grad_(False), shape


def main():
    name, path = sys.argv[1:]
    if name in NETWORKS:
        module, side, _ = network(name)
        shape = (3, side, side)
    else:
        module, shape = operation(name)
    torch.onnx.export(module, (torch.rand(1, *shape),), path, opset_version=17, dynamo=False,
                      input_names=["image"], output_names=["scores"],
                      dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}})


if __name__ == "__main__":
    main()
