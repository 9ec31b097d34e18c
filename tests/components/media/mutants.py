"""Videos with random damage, as many as VIVIT_FUZZ says."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.components.media.videos import write_video

MUTANTS = int(os.environ.get("VIVIT_FUZZ", "140"))
_CODED = {
    "v.mp4": "libx264",
    "v.mkv": "libx265",
    "v.webm": "libvpx-vp9",
    "v.avi": "mpeg4",
    "v.ts": "libx264",
    "v.mov": "mjpeg",
    "v.gif": "gif",
}


def mutants(folder: Path, count: int) -> Iterator[str]:
    """Writes videos of 2 s with up to 20 bytes changed, half of them cut off; the same ones each time."""
    rng = np.random.default_rng(0)
    sources = [Path(write_video(folder / name, range(20), codec=codec)) for name, codec in _CODED.items()]
    contents = [source.read_bytes() for source in sources]
    for number in range(count):
        source, content = sources[number % len(sources)], bytearray(contents[number % len(sources)])
        for place in rng.integers(0, len(content), rng.integers(1, 20)):
            content[place] = rng.integers(256)
        mutant = source.with_stem(f"mutant-{number}")
        mutant.write_bytes(content[: rng.integers(len(content) // 2, 2 * len(content))])
        yield str(mutant)
