#!/usr/bin/env python3
"""Cuts a file of VGG16's trunk by its tensors into the files of the three crates that carry it.

    weights/cut_vgg16.py vgg16_conv_f16.safetensors

The registry takes 10 MB a crate. Tensors keep their order, their bytes and their names; every part has the metadata of
the whole. The parts are as even as whole tensors let them be.
"""

import json
import pathlib
import struct
import sys

PARTS = 3
CRATES = pathlib.Path(__file__).resolve().parent.parent / "crates"


def main(path):
    whole = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])
    data = whole[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors = sorted(header.items(), key=lambda tensor: tensor[1]["data_offsets"])
    parts = [[] for _ in range(PARTS)]
    for name, tensor in tensors:
        begin, end = tensor["data_offsets"]
        # The part in which the middle of the tensor lies.
        parts[min(PARTS * (begin + end) // (2 * len(data)), PARTS - 1)].append((name, tensor))
    for number, part in enumerate(parts, start=1):
        first = part[0][1]["data_offsets"][0]
        last = part[-1][1]["data_offsets"][1]
        shifted = {
            name: {**tensor, "data_offsets": [offset - first for offset in tensor["data_offsets"]]}
            for name, tensor in part
        }
        text = json.dumps({"__metadata__": metadata, **shifted}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        name = f"{pathlib.Path(path).stem}-{number}-of-{PARTS}.safetensors"
        target = CRATES / f"vis-weights-vgg16-{number}" / "data" / name
        target.write_bytes(struct.pack("<Q", len(text)) + text + data[first:last])
        print(f"{target}: {len(part)} tensors, {target.stat().st_size} bytes")


main(sys.argv[1])
