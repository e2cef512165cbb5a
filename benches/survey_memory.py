"""Draws the memory of `vis survey` while it goes through 50,000 images, as an SVG picture.

    python benches/survey_memory.py VIS IMAGES PICTURE.svg [COUNT]

VIS is the command, IMAGES a folder of images, which are linked again and again under new names until there are COUNT
(50000). Needs Linux, and nothing but Python's standard library.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def resident(process):
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def main(vis, images, picture, count="50000"):
    count, files = int(count), sorted(path for path in pathlib.Path(images).rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory(dir=pathlib.Path(images).resolve().parent) as folder:
        for index in range(count):
            source = files[index % len(files)]
            place = pathlib.Path(folder, "images", f"{index // 1000:03}")
            place.mkdir(parents=True, exist_ok=True)
            os.link(source, place / f"{index}{source.suffix}")
        layers = ["conv1", "conv2", "predictions"]
        command = [vis, "survey", "--model", "digits", "--images", f"{folder}/images", "--out", f"{folder}/s", "--layers", *layers]
        begun, points = time.perf_counter(), []
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            memory = resident(process.pid)
            if memory:
                points.append((time.perf_counter() - begun, memory))
            time.sleep(0.25)
        taken = time.perf_counter() - begun
        surveyed = json.loads(pathlib.Path(folder, "s", "manifest.json").read_text())["images"]["surveyed"]
    assert process.returncode == 0 and surveyed == count, (process.returncode, surveyed)
    most = max(memory for _, memory in points)
    settled = [memory for at, memory in points if at > taken / 10]
    print(f"{count} images in {taken:.0f} s: {settled[0]:.0f} MB after a tenth, {settled[-1]:.0f} MB at the end, {most:.0f} MB at most")
    width, height, left, bottom, top = 640, 260, 60, 40, 24
    scale = 50 * -(-most // 50) or 50
    x = lambda at: left + (width - left - 30) * at / taken
    y = lambda memory: height - bottom - (height - bottom - top) * memory / scale
    line = " ".join(f"{x(at):.1f},{y(memory):.1f}" for at, memory in points)
    marks = "".join(
        f'<line x1="{left}" x2="{width - 30}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="#ddd"/>'
        f'<text x="{left - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark}</text>'
        for mark in range(0, int(scale) + 1, 50)
    )
    images_at = "".join(
        f'<text x="{x(taken * part / 5):.1f}" y="{height - bottom + 18}" text-anchor="middle">{count * part // 5:,}</text>'
        for part in range(6)
    )
    pathlib.Path(picture).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<title>Memory of a survey over {count} images</title><rect width="100%" height="100%" fill="#fff"/>{marks}{images_at}'
        f'<polyline points="{line}" fill="none" stroke="#c8501f" stroke-width="2"/>'
        f'<text x="{left}" y="14">resident memory, MB</text>'
        f'<text x="{width - 30}" y="{height - 6}" text-anchor="end">images</text></svg>\n'
    )


main(*sys.argv[1:])
