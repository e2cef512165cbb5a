"""One step of MaCo by the formulas of xplique 2.0.2: maco.py (needs torch and numpy).

The image of a phase and a magnitude is that of `maco_image_parametrization` (features_visualizations/preconditioning.py); the
step is Keras's Nadam with a learning rate of 1 on minus the gradient of the score, as in `maco` (maco.py). The score is
Σ w·image², without crops or noise. In f64; writes maco_*.npy beside itself.
"""
import os

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
CORRELATION = torch.tensor(
    [[0.56282854, 0.58447580, 0.58447580], [0.19482528, 0.0, -0.19482528], [0.04329450, -0.10823626, 0.06494176]],
    dtype=torch.float64,
)


def image_of(magnitude, phase, low, high):
    phase = phase - phase.mean()
    phase = phase / (phase.std(unbiased=False) + 1e-5)
    image = torch.fft.irfft2(torch.complex(phase.cos() * magnitude, phase.sin() * magnitude)).permute(1, 2, 0)
    image = image - image.mean()
    image = image / (image.std(unbiased=False) + 1e-5)
    image = torch.sigmoid((image.reshape(-1, 3) @ CORRELATION).reshape(image.shape))
    return (image * (high - low) + low).permute(2, 0, 1)


def nadam(variable, gradient, rate=1.0, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """The first step."""
    now, following = (beta_1 * (1 - 0.5 * 0.96**step) for step in (1, 2))
    mean, square = (1 - beta_1) * gradient, (1 - beta_2) * gradient**2
    ahead = following * mean / (1 - now * following) + (1 - now) * gradient / (1 - now)
    return variable - ahead * rate / ((square / (1 - beta_2)).sqrt() + epsilon)


def main():
    random = np.random.default_rng(7)
    height, width = 12, 16
    shape = (3, height, width // 2 + 1)
    phase = random.normal(size=shape).astype("f4")
    # Falls with frequency, as in photographs, with noise on it.
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    magnitude = (random.uniform(0.5, 1.5, shape) / np.maximum(frequency, 1 / width)).astype("f4")
    weights = random.normal(size=(3, height, width)).astype("f4")
    variable = torch.tensor(phase, dtype=torch.float64, requires_grad=True)
    image = image_of(torch.tensor(magnitude, dtype=torch.float64), variable, -1.0, 3.0)
    image.retain_grad()
    (torch.tensor(weights, dtype=torch.float64) * image**2).sum().backward()
    moved = nadam(variable.detach(), -variable.grad)
    for name, value in [
        ("phase", phase),
        ("magnitude", magnitude),
        ("weights", weights),
        ("image", image.detach().numpy()),
        ("gradient", variable.grad.numpy()),
        ("image_gradient", image.grad.numpy()),
        ("moved", moved.numpy()),
    ]:
        np.save(os.path.join(HERE, f"maco_{name}.npy"), value.astype("f4"))


main()
