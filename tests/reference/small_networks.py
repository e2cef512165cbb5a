"""Writes `weights/`: one small VGG16 in every form that a file of weights can have, a small VGG19, and what they answer.

    python small_networks.py        (needs PyTorch alone)

The networks have the layers of VGG16 or VGG19 with 2 to 4 channels, 5 dense units and 3 classes. The Keras file is made by
the definition of Keras's layout: kernels `[height, width, in, out]`, BGR, and a dense layer that reads the map
pixel by pixel.
"""

import json
import struct
from pathlib import Path

import torch
from torch.nn import functional

FOLDER = Path(__file__).parent / "weights"
VGG16, VGG19 = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
WIDTHS, DENSE, CLASSES = (2, 2, 3, 3, 4), 5, 3
TYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


def network(convolutions, seed):
    """Kernels and biases in PyTorch's layout, by Keras name; values that f16 and bf16 hold exactly."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(shape, generator=generator) * 2 - 1
    tensors, channels = {}, 3
    for block, (count, width) in enumerate(zip(convolutions, WIDTHS), 1):
        for number in range(1, count + 1):
            kernel = draw(width, channels, 3, 3) * (6 / (9 * channels)) ** 0.5
            tensors[f"block{block}_conv{number}"] = kernel, draw(width).abs() * 0.2
            channels = width
    tensors["fc1"] = draw(DENSE, channels * 49) * 0.3, draw(DENSE).abs()
    tensors["fc2"] = draw(DENSE, DENSE), draw(DENSE).abs()
    tensors["predictions"] = draw(CLASSES, DENSE), draw(CLASSES)
    return {name: [tensor.bfloat16().float() for tensor in pair] for name, pair in tensors.items()}


def image():
    """`[1, 3, 224, 224]` in 0..255, of whole numbers that a test computes again."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    return torch.stack([(x * x + 3 * y) % 256, (x + y * y) % 256, (x * y) % 256])[None].float()


def features(convolutions, tensors, x):
    """What leaves the last rectifier of the trunk."""
    for block, count in enumerate(convolutions, 1):
        x = functional.max_pool2d(x, 2) if block > 1 else x
        for number in range(1, count + 1):
            x = functional.conv2d(x, *tensors[f"block{block}_conv{number}"], padding=1).relu()
    return x


def logits(convolutions, tensors, x):
    x = functional.max_pool2d(features(convolutions, tensors, x), 2).flatten(1)
    for name in ("fc1", "fc2"):
        x = functional.linear(x, *tensors[name]).relu()
    return functional.linear(x, *tensors["predictions"])


def write_safetensors(name, tensors, dtype):
    header, data = {}, b""
    for key, tensor in tensors.items():
        raw = tensor.to(dtype).contiguous().view(torch.uint8).numpy().tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[key] = {"dtype": TYPES[dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += raw
    header = json.dumps(header).encode()
    (FOLDER / name).write_bytes(struct.pack("<Q", len(header)) + header + data)


def named(tensors, rename):
    return {
        f"{rename(layer)}.{part}": tensor
        for layer, pair in tensors.items()
        for part, tensor in zip(("weight", "bias"), pair)
    }


def keras(tensors):
    result = {}
    for layer, (kernel, bias) in tensors.items():
        if layer == "block1_conv1":
            kernel = kernel.flip(1)
        if kernel.dim() == 4:
            kernel = kernel.permute(2, 3, 1, 0)
        elif layer == "fc1":
            kernel = kernel.reshape(DENSE, WIDTHS[-1], 7, 7).permute(2, 3, 1, 0).reshape(-1, DENSE)
        else:
            kernel = kernel.T
        result[f"{layer}/kernel"], result[f"{layer}/bias"] = kernel, bias
    return result


def main():
    FOLDER.mkdir(exist_ok=True)
    tensors, numbered, index = network(VGG16, 3), {}, 0
    for block, count in enumerate(VGG16, 1):
        for number in range(1, count + 1):
            numbered[f"block{block}_conv{number}"] = f"features.{index}"
            index += 2
        index += 1
    torchvision = numbered | {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
    timm = numbered | {"fc1": "pre_logits.fc1", "fc2": "pre_logits.fc2", "predictions": "head.fc"}
    as_convolutions = dict(tensors)
    for layer, shape in {"fc1": (DENSE, WIDTHS[-1], 7, 7), "fc2": (DENSE, DENSE, 1, 1)}.items():
        kernel, bias = tensors[layer]
        as_convolutions[layer] = kernel.reshape(shape), bias

    write_safetensors("named.safetensors", named(tensors, str), torch.float32)
    write_safetensors("keras.safetensors", keras(tensors), torch.float16)
    write_safetensors("torchvision.safetensors", named(tensors, torchvision.get), torch.bfloat16)
    write_safetensors("timm.safetensors", named(as_convolutions, timm.get), torch.float32)
    checkpoint = named(tensors, torchvision.get)
    torch.save(checkpoint, FOLDER / "torchvision.pth")
    legacy = {"state_dict": {f"module.{name}": tensor for name, tensor in checkpoint.items()}, "epoch": 7}
    torch.save(legacy, FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    # One number that claims to be a quarter of a billion.
    torch.save({"features.0.bias": torch.zeros(1).expand(1 << 28)}, FOLDER / "expanded.pth")

    deep = network(VGG19, 4)
    write_safetensors("vgg19.safetensors", named(deep, str), torch.float32)

    x = image()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    column = lambda values: values[:, None, None]
    caffe = x - column(torch.tensor([123.68, 116.779, 103.939]))
    torch_pixels = (x / 255 - column(mean)) / column(deviation)
    for title, pixels in (("Keras", caffe), ("torchvision", torch_pixels)):
        print(title, logits(VGG16, tensors, pixels).tolist())
    print("VGG19", logits(VGG19, deep, caffe).tolist())
    print("VGG19 block5_conv4, channel means", features(VGG19, deep, caffe).mean((0, 2, 3)).tolist())


main()
