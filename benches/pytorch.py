"""PyTorch's side of `cargo bench --bench pytorch`: one case in one memory layout.

Usage: pytorch.py CASE BATCH contiguous|channels_last THREADS

Prints "ready" after two runs to warm up; then, for every line of input, runs once and prints the seconds it took; at
the end of the input, the peak of resident memory in MB. Written as someone would who knows PyTorch: weights need no
gradient, nothing deeper than the layer wanted is computed, and what needs no gradient at all runs in inference mode.
"""

import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

case, batch, layout, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
torch.set_num_threads(threads)
torch.manual_seed(0)
LAYOUT = torch.channels_last if layout == "channels_last" else torch.contiguous_format


class GuidedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.relu()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, cotangent):
        (y,) = ctx.saved_tensors
        return cotangent.clamp_(min=0) * (y > 0)


class Guided(nn.Module):
    def forward(self, x):
        return GuidedRelu.apply(x)


def vgg16(until, guided=False):
    layers, channels = [], 3
    for block, (count, width) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for index in range(1, count + 1):
            layers += [nn.Conv2d(channels, width, 3, padding=1), Guided() if guided else nn.ReLU(inplace=True)]
            channels = width
            if until == f"block{block}_conv{index}":
                return nn.Sequential(*layers)
        layers.append(nn.MaxPool2d(2))
    raise ValueError(until)


class Same(nn.Module):
    """A convolution with TensorFlow's padding, and its rectifier."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, rectified=True):
        super().__init__()
        padding = (kernel - 1) // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
        self.kernel, self.stride = kernel, stride
        self.rectifier = nn.ReLU6(inplace=True) if rectified else nn.Identity()

    def forward(self, x):
        if self.stride > 1:
            pads = []
            for size in (x.shape[3], x.shape[2]):
                total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
                pads += [total // 2, total - total // 2]
            x = F.pad(x, pads)
        return self.rectifier(self.convolution(x))


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        inner = inputs * expansion
        layers = [Same(inputs, inner, 1)] if expansion > 1 else []
        layers += [Same(inner, inner, kernel, stride, inner), Same(inner, outputs, 1, rectified=False)]
        self.layers, self.residual = nn.Sequential(*layers), stride == 1 and inputs == outputs

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


class EfficientNetLite0(nn.Module):
    STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
              (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]

    def __init__(self):
        super().__init__()
        layers, channels = [Same(3, 32, 3, 2)], 32
        for repeats, kernel, stride, expansion, outputs in self.STAGES:
            for index in range(repeats):
                layers.append(Block(channels, outputs, kernel, stride if index == 0 else 1, expansion))
                channels = outputs
        layers.append(Same(320, 1280, 1))
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(1280, 1000)

    def head(self, features):
        return self.classifier(features.mean((2, 3)))

    def forward(self, x):
        return self.head(self.features((x - 127) / 128))


def frozen(model):
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model.eval().requires_grad_(False).to(memory_format=LAYOUT)


def noise(count, height=224, width=224):
    return (torch.rand(count, 3, height, width) * 255).to(memory_format=LAYOUT)


def vgg_input(x):
    return (x - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)).to(memory_format=LAYOUT)


def gradient(loss, x):
    (result,) = torch.autograd.grad(loss.sum(), x)
    return result


def check(x):
    assert torch.isfinite(x.abs().max()).item()


def step_case(layer, guided=False):
    model, image = frozen(vgg16(layer, guided)), noise(batch)

    def run():
        x = image.clone().requires_grad_()
        check(gradient(-model(vgg_input(x))[:, 0].mean((1, 2)), x))
    return run


def lite_gradient():
    model, image = frozen(EfficientNetLite0()), noise(batch)

    def run():
        x = image.clone().requires_grad_()
        check(gradient(model(x)[:, 285], x))
    return run


def grad_cam():
    model, image = frozen(EfficientNetLite0()), noise(batch)

    def run():
        with torch.no_grad():
            features = model.features((image - 127) / 128)
        features.requires_grad_()
        weights = gradient(model.head(features)[:, 285], features).mean((2, 3), keepdim=True)
        check((weights * features.detach()).sum(1).relu())
    return run


def integrated_gradients():
    model, image = frozen(EfficientNetLite0()), noise(1)
    steps, at_once = 64, batch

    def run():
        total = torch.zeros_like(image)
        places = (torch.arange(steps) + 0.5) / steps
        with torch.inference_mode():
            model(image), model(torch.zeros_like(image))
        for chunk in places.split(at_once):
            x = (image * chunk.view(-1, 1, 1, 1)).to(memory_format=LAYOUT).requires_grad_()
            total += gradient(model(x)[:, 285], x).sum(0, keepdim=True) / steps
        check(total * image)
    return run


def ascent(x, wanted):
    """The normalised gradient of what is wanted and keras-vis's regularizers, the loss, and the image."""
    count = x[0].numel()
    norm = x.abs().flatten(1).norm(6, dim=1) / count
    here = x[:, :, :-1, :-1]
    variation = (x[:, :, 1:, :-1] - here).square() + (x[:, :, :-1, 1:] - here).square()
    loss = wanted + 10 * norm + 10 * variation.sum((1, 2, 3)) / count
    g = gradient(loss, x)
    with torch.no_grad():
        return g / (g.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-7), loss.detach(), x.detach()


def activation():
    """keras-vis's run: an L6 norm, total variation, RMSprop on normalised gradients, the best image kept."""
    model = frozen(vgg16("block3_conv3"))
    index = torch.arange(batch)

    def run():
        x = noise(batch)
        squares = torch.zeros_like(x)
        best, best_loss = x, torch.full((batch,), torch.inf)
        for _ in range(10):
            x = x.requires_grad_()
            g, loss, x = ascent(x, -model(vgg_input(x))[index, index].mean((1, 2)))
            with torch.no_grad():
                better = loss < best_loss
                best = torch.where(better.view(-1, 1, 1, 1), x, best)
                best_loss = torch.where(better, loss, best_loss)
                squares = squares.mul_(0.95).add_(g.square(), alpha=0.05)
                x = x - g / (squares + 1e-7).sqrt()
                loss.tolist()
        with torch.inference_mode():
            model(vgg_input(best))
        check(best)
    return run


def dream():
    model, photo = frozen(vgg16("block4_conv3")), noise(1, 768, 1024)

    def run():
        x = photo.clone()
        for _ in range(3):
            x = x.requires_grad_()
            g = gradient(-model(vgg_input(x)).square().mean(), x)
            with torch.no_grad():
                x = x.detach() - 1.5 * g / g.abs().mean()
        check(x)
    return run


def network_case(name, kind):
    import networks
    model, side, layer = networks.network(name)
    model, image = model.to(memory_format=LAYOUT), torch.rand(batch, 3, side, side).to(memory_format=LAYOUT)

    def saliency():
        x = image.clone().requires_grad_()
        check(gradient(model(x)[:, 285], x))

    def grad_cam():
        found = []

        def keep(_module, _inputs, output):
            # Nothing before the layer needs a gradient.
            found.append(output.detach().requires_grad_())
            return found[0]
        handle = model.get_submodule(layer).register_forward_hook(keep)
        score = model(image)[:, 285]
        handle.remove()
        features, cotangent = found[0], gradient(score, found[0])
        if features.dim() == 3:
            check((cotangent.mean(1, keepdim=True) * features.detach()).sum(2).relu())
        else:
            places, channels = ((1, 2), 3) if name == "swin_t" else ((2, 3), 1)
            check((cotangent.mean(places, keepdim=True) * features.detach()).sum(channels).relu())

    def activation():
        x = image
        squares, best, best_loss = torch.zeros_like(x), x, torch.full((batch,), torch.inf)
        for _ in range(3):
            x = x.requires_grad_()
            g, loss, x = ascent(x, -model(x)[:, 285])
            with torch.no_grad():
                better = loss < best_loss
                best = torch.where(better.view(-1, 1, 1, 1), x, best)
                best_loss = torch.where(better, loss, best_loss)
                squares = squares.mul_(0.95).add_(g.square(), alpha=0.05)
                x = x - g / (squares + 1e-7).sqrt()
                loss.tolist()
        with torch.inference_mode():
            model(best)
        check(best)
    return {"gradient": saliency, "grad-cam": grad_cam, "activation": activation}[kind]


def operation_case(name, kind):
    import networks
    module, shape = networks.operation(name)
    x = torch.rand(batch, *shape) - 0.5
    if len(shape) == 3:
        module, x = module.to(memory_format=LAYOUT), x.to(memory_format=LAYOUT)

    def forward():
        with torch.inference_mode():
            module(x)

    def backward():
        leaf = x.detach().requires_grad_()
        gradient(module(leaf), leaf)
    return {"forward": forward, "backward": backward}[kind]


CASES = {
    "vgg16 block1_conv2": lambda: step_case("block1_conv2"),
    "vgg16 block3_conv3": lambda: step_case("block3_conv3"),
    "vgg16 block5_conv3": lambda: step_case("block5_conv3"),
    "guided backprop": lambda: step_case("block5_conv3", guided=True),
    "efficientnet gradient": lite_gradient,
    "grad-cam": grad_cam,
    "integrated gradients": integrated_gradients,
    "visualize_activation": activation,
    "deep dream": dream,
}

what, _, rest = case.partition(": ")
name, _, kind = rest.rpartition(", ")
run = {"network": network_case, "operation": operation_case}[what](name, kind) if rest else CASES[case]()
run()
run()
print("ready", flush=True)
for _ in sys.stdin:
    # What is short is run several times, so that what it costs to begin is no part of it.
    times = 20 if what == "operation" else 1
    start = time.perf_counter()
    for _ in range(times):
        run()
    print((time.perf_counter() - start) / times, flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
