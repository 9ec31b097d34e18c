"""Real videos whose frames show their own number."""

import io
from fractions import Fraction

import av
import numpy as np
from PIL import Image

BARS = 8


def counter(number, height=48, width=64):
    """A frame that shows its number: eight upright bars, one per bit."""
    bits = number >> (BARS - 1 - np.arange(width) * BARS // width) & 1
    return np.broadcast_to(np.where(bits, 220, 30)[None, :, None], (height, width, 3)).astype(np.uint8)


def pixels_of(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).astype(float)


def numbers(clip):
    """The numbers that the frames of a stored clip show."""
    rows = [pixels_of(jpeg).mean(axis=0) for jpeg in clip.frames]
    bars = [[bar[len(bar) // 2] > 125 for bar in np.array_split(row, BARS)] for row in rows]
    return [int("".join("01"[bit] for bit in bits), 2) for bits in bars]


def write_video(path, times, *, size=(48, 64), codec="libx264", tick=Fraction(1, 10), aspect=None, muxer=None):
    """Writes a counted frame at each of `times`, in ticks, with B-frames and a keyframe every 12 frames."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=1 / tick)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = tick
        stream.options = {"g": "12"} if codec == "libvpx-vp9" else {"g": "12", "bf": "2"}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(counter(number, *size))
            frame.pts, frame.time_base = time, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)
