"""Residual networks, MobileNetV2 and vision transformers of torchvision and timm with random weights, and what they answer.

    python networks.py [--whole FOLDER]

Writes narrow variants into `networks/` beside this file: weights in half precision, an image, the scores, the output of
one inner module and the gradient of one score with respect to the image, computed in f64 with the weights as they are written. `--whole` writes the
networks of the published sizes into a folder instead, in f32, which are too large to be kept; the tests compare with
them when `VIS_NETWORKS` names that folder.

Made with torch 2.15, torchvision 0.29 and timm 1.0.31.
"""

import argparse
import pathlib

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models.efficientnet import _gen_mobilenet_v2
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer

IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
HALF = ([127.5] * 3, [127.5] * 3)


def narrow():
    """Name, network, image size, mean and deviation of the pixels, and how the weights are written."""
    resnet = lambda block, layers: ResNet(block, layers, channels=(6, 8, 10, 12), stem_width=6, num_classes=7)
    vit = lambda: VisionTransformer(
        img_size=20, patch_size=4, embed_dim=24, depth=3, num_heads=3, mlp_ratio=3, num_classes=5
    )
    torchvision_vit = lambda: torchvision.models.VisionTransformer(
        image_size=24, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=40, num_classes=4
    )
    mobilenet = lambda: torchvision.models.MobileNetV2(num_classes=9, width_mult=0.06, round_nearest=2)
    timm_mobilenet = lambda: _gen_mobilenet_v2("mobilenetv2_035", 0.05, num_classes=3)
    yield "resnet18", resnet(BasicBlock, [2, 2, 2, 2]), (48, 40), IMAGENET, "safetensors"
    yield "resnet34", resnet(BasicBlock, [3, 4, 6, 3]), (33, 47), IMAGENET, "safetensors"
    yield "resnet50", resnet(Bottleneck, [3, 4, 6, 3]), (40, 56), IMAGENET, "pth"
    yield "mobilenet_v2", mobilenet(), (40, 56), IMAGENET, "pth"
    yield "mobilenet_v2_timm", timm_mobilenet(), (36, 32), IMAGENET, "safetensors"
    yield "vit_timm", vit(), (20, 20), HALF, "safetensors"
    yield "vit_torchvision", torchvision_vit(), (24, 24), IMAGENET, "pth"


def whole():
    models = torchvision.models
    size = (224, 224)
    yield "resnet18", models.resnet18(), (160, 224), IMAGENET, "pth"
    yield "resnet34", models.resnet34(), size, IMAGENET, "safetensors"
    yield "resnet50", models.resnet50(), size, IMAGENET, "pth"
    yield "mobilenet_v2", models.mobilenet_v2(), (192, 224), IMAGENET, "pth"
    yield "mobilenet_v2_timm", timm.create_model("mobilenetv2_100"), size, IMAGENET, "safetensors"
    yield "vit_timm", timm.create_model("vit_small_patch16_224"), size, HALF, "safetensors"


# The module whose output is kept too.
INNER = {
    "resnet18": "layer3.1.bn2",
    "resnet34": "layer2.0.downsample",
    "resnet50": "layer4.2.bn3",
    "mobilenet_v2": "features.4.conv.3",
    "mobilenet_v2_timm": "blocks.2.1.bn2",
    "vit_timm": "blocks.1.mlp.fc1",
    "vit_torchvision": "encoder.layers.encoder_layer_0",
}


def prepared(network):
    """Weights and statistics that make every part of a network count."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.rand(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise)
            elif name.endswith("running_mean"):
                tensor.copy_(0.4 * noise - 0.2)
            elif tensor.ndim == 1 and name.endswith("weight"):
                tensor.copy_(0.7 + 0.6 * noise)
            elif tensor.ndim == 1:
                tensor.copy_(0.4 * noise - 0.2)
            elif name.endswith(("cls_token", "pos_embed", "class_token", "pos_embedding")):
                tensor.copy_(noise - 0.5)
            else:
                fan_in = tensor[0].numel()
                tensor.copy_((2 * noise - 1) * (4.5 / fan_in) ** 0.5)
    return network.eval()


def rollouts(network, image, score):
    """Attention rollout of a vision transformer of timm, and its form by gradient, at the grid of its tokens.

    Abnar & Zuidema 2020, section 3: the product of (A + I) / 2 over the blocks, A the mean of the heads. Chefer, Gur & Wolf
    2021, equations 5 and 6: R + mean over heads of max(gradient * A, 0) R. Both give the row of the class token. The same as
    `rollout(attentions, 0, "mean")` of jacobgil/vit-explain, but for its division by the maximum, and as
    `generate_relevance` of hila-chefer/Transformer-MM-Explainability.
    """
    maps = []

    def kept(module, inputs, output):
        output.retain_grad()
        maps.append(output)

    for block in network.blocks:
        block.attn.fused_attn = False
    hooks = [block.attn.attn_drop.register_forward_hook(kept) for block in network.blocks]
    network(image)[0, score].backward()
    for hook in hooks:
        hook.remove()
    identity = torch.eye(maps[0].shape[-1], dtype=image.dtype)
    plain, by_gradient = identity, identity
    for attention in maps:
        plain = (attention[0].mean(0) + identity) / 2 @ plain
        by_gradient = by_gradient + (attention.grad * attention)[0].clamp(min=0).mean(0) @ by_gradient
    side = round((len(identity) - 1) ** 0.5)
    return [rollout[0, 1:].reshape(1, 1, side, side).detach() for rollout in (plain, by_gradient)]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--whole", type=pathlib.Path)
    arguments = arguments.parse_args()
    folder = arguments.whole or pathlib.Path(__file__).parent / "networks"
    folder.mkdir(exist_ok=True)
    for name, network, size, (mean, deviation), form in whole() if arguments.whole else narrow():
        network = prepared(network)
        if not arguments.whole:
            network = network.half()
        weights = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        if form == "pth":
            torch.save(weights, folder / f"{name}.pth")
        else:
            save_file(weights, folder / f"{name}.safetensors")
        if name == "vit_torchvision":
            # The same network as a file, to be read as a graph.
            sample = torch.zeros(1, 3, *size)
            torch.onnx.export(network.float(), sample, folder / f"{name}.onnx", dynamo=False, opset_version=17)
        network = network.double()
        values = np.random.default_rng(5).uniform(0, 255, (1, 3, *size)).astype(np.float32)
        image = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        of_channels = lambda values: torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1)
        kept = []
        inner = network.get_submodule(INNER[name])
        inner.register_forward_hook(lambda module, inputs, output: kept.append(output.detach().clone()))
        scores = network((image - of_channels(mean)) / of_channels(deviation))
        scores[0, 2].backward()
        np.save(folder / f"{name}_image.npy", values)
        np.save(folder / f"{name}_scores.npy", scores.detach().numpy().astype(np.float32))
        if not arguments.whole:
            np.save(folder / f"{name}_inner.npy", kept[0].numpy().astype(np.float32))
        np.save(folder / f"{name}_gradient.npy", image.grad.numpy().astype(np.float32))
        if name == "vit_timm":
            image = (torch.tensor(values, dtype=torch.float64) - of_channels(mean)) / of_channels(deviation)
            for kind, rollout in zip(("rollout", "rollout_by_gradient"), rollouts(network, image, 2)):
                np.save(folder / f"{name}_{kind}.npy", rollout.numpy().astype(np.float32))
        count = sum(tensor.numel() for tensor in weights.values())
        print(name, count, "numbers,", scores[0, :4].tolist())


main()
