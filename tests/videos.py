"""Small real videos for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path, frames: np.ndarray, *, fps: float = 10, codec: str = "libx264", options: dict | None = None
) -> Path:
    """Writes uint8 frames [T, H, W, 3], H and W even."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.options = options or {"crf": "18"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_colour_classes(root: Path, *, per_class: int) -> Path:
    """A folder with a sub-folder per class: noisy red, green and blue videos of mixed size, rate and length."""
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        for number in range(per_class):
            height, width = ((48, 64), (64, 48), (56, 56))[number % 3]
            frames = rng.integers(0, 80, (8 + number % 5, height, width, 3), dtype=np.uint8)
            frames[..., channel] += 150
            write_video(root / name / f"{number:02d}.mp4", frames, fps=(8, 12.5, 25)[number % 3])
    return root
