"""How many images a second a loop with hooks surveys in PyTorch, and `vis survey` on the same cores.

    python benches/survey.py VIS IMAGES [MODEL …]

VIS is the command, IMAGES a folder (`cargo run --example survey_images` makes one), MODEL vgg16 or efficientnet-lite0. The
two run in turn, ROUNDS times (3), each a process of its own, with THREADS threads (2); the medians are printed. PyTorch's
loop is written as someone would who knows PyTorch: a DataLoader with a worker that decodes ahead, inference mode, nothing
deeper than the last layer computed, the faster of both memory layouts and of batches of 1 and 8. It keeps less than
`vis survey` does: the top 9 of each channel by maximum and mean with places, and the share of zeros; no histograms, no
state on the disk.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LAYERS = {
    "vgg16": ["block3_conv3", "block4_conv3", "block5_conv3"],
    "efficientnet-lite0": ["blocks.5", "blocks.10", "head"],
}
TOP = 9


def pytorch(folder, name, layout, batch, threads):
    import numpy
    import torch
    from PIL import Image

    # The networks of the other benchmark: what comes before its first case.
    source = (pathlib.Path(__file__).parent / "pytorch.py").read_text().split("\ndef noise(")[0]
    sys.argv[1:] = ["", "1", layout, str(threads)]
    scope = {}
    exec(source, scope)
    torch.set_num_threads(threads)

    class Images(torch.utils.data.Dataset):
        files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix in (".png", ".jpg"))

        def __len__(self):
            return len(self.files)

        def __getitem__(self, index):
            picture = Image.open(self.files[index]).convert("RGB")
            scale = 224 / min(picture.size)
            size = [max(224, round(side * scale)) for side in picture.size]
            picture = picture.resize(size, Image.BICUBIC)
            left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
            pixels = numpy.asarray(picture.crop((left, top, left + 224, top + 224)), dtype=numpy.float32)
            return torch.from_numpy(pixels).permute(2, 0, 1), index

    if name == "vgg16":
        model = scope["frozen"](scope["vgg16"]("block5_conv3"))
        mean = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
        modules = [model[15], model[22], model[29]]
        run = lambda x: model(x - mean)
    else:
        model = scope["frozen"](scope["EfficientNetLite0"]())
        modules = [model.features[6], model.features[11], model.features[17]]
        run = lambda x: model.features((x - 127) / 128)
    outputs, kept = {}, {}
    for place, module in enumerate(modules):
        module.register_forward_hook(lambda _, __, output, place=place: outputs.__setitem__(place, output))

    def keep(place, kind, values, indices, images):
        images = images.view(-1, 1).expand_as(values)
        old = kept.get((place, kind))
        if old is not None:
            values, indices, images = (torch.cat(pair) for pair in zip(old, (values, indices, images)))
        values, order = values.topk(min(TOP, len(values)), dim=0)
        kept[place, kind] = values, indices.gather(0, order), images.gather(0, order)

    zeros = {}
    loader = torch.utils.data.DataLoader(Images(), batch_size=batch, num_workers=1, prefetch_factor=4)
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    done, begun = 0, None
    with torch.inference_mode():
        for pictures, images in loader:
            begun = begun or time.perf_counter()
            run(pictures.to(memory_format=memory))
            for place, output in outputs.items():
                flat = output.flatten(2)
                values, indices = flat.max(2)
                keep(place, "maximum", values, indices, images)
                keep(place, "mean", flat.mean(2), indices, images)
                zeros[place] = zeros.get(place, 0) + (flat == 0).sum((0, 2))
            done += len(images)
    print((done - batch) / (time.perf_counter() - begun))


def child(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": arguments[-1]}
    command = [sys.executable, __file__, "child", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def survey(vis, folder, name, threads):
    """The rate from some images on, as the loop's: what a survey does once, whatever their number, is in both times."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix in (".png", ".jpg"))
    times, counts = [], (len(files) // 4, len(files))
    with tempfile.TemporaryDirectory(dir=pathlib.Path(folder).resolve().parent) as place:
        for count in counts:
            images = pathlib.Path(place, str(count))
            images.mkdir()
            for index, file in enumerate(files[:: len(files) // count][:count]):
                os.link(file, images / f"{index}{file.suffix}")
            command = [vis, "survey", "--model", name, "--images", str(images), "--out", f"{place}/s{count}", "--layers", *LAYERS[name]]
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            times.append(time.perf_counter() - begun)
    return (counts[1] - counts[0]) / (times[1] - times[0]), counts[1] / times[1]


def main():
    vis, folder, *names = sys.argv[1:]
    rounds, threads = int(os.environ.get("ROUNDS", 3)), os.environ.get("THREADS", "2")
    print("| network | PyTorch, images/s | vis, images/s (with its start) | ratio |")
    print("| --- | --- | --- | --- |")
    for name in names or LAYERS:
        ways = [(layout, batch) for layout in ("contiguous", "channels_last") for batch in ("1", "8")]
        theirs, ours = {way: [] for way in ways}, []
        for _ in range(rounds):
            for way in ways:
                theirs[way].append(child(folder, name, *way, threads))
            ours.append(survey(vis, folder, name, threads))
        best = max(statistics.median(rates) for rates in theirs.values())
        rate, whole = (statistics.median(column) for column in zip(*ours))
        print(f"| {name} | {best:.2f} | {rate:.2f} ({whole:.2f}) | {rate / best:.2f} |", flush=True)


if sys.argv[1] == "child":
    _, _, images, network, memory_layout, size, cores = sys.argv
    pytorch(images, network, memory_layout, int(size), int(cores))
else:
    main()
