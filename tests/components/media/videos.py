"""Real videos whose frames show their own number, and which way up they are."""

import contextlib
import io
import os
import struct
from fractions import Fraction

import av
import numpy as np
from PIL import Image

BARS = 8


def counter(number, height=48, width=64):
    """A frame that shows its number: eight upright bars, one per bit, and at its foot the opposite bits."""
    bits = number >> (BARS - 1 - np.arange(width) * BARS // width) & 1
    foot = np.arange(height)[:, None] >= height * 3 // 4
    return np.repeat(np.where(bits ^ foot, 220, 30)[..., None], 3, axis=2).astype(np.uint8)


def pixels_of(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).astype(float)


def number_of(pixels):
    """The number that a picture shows, or None if it does not show one upright."""
    rows = len(pixels)
    head, foot = (
        [bool(bar[len(bar) // 2] > 125) for bar in np.array_split(part.mean(axis=0), BARS)]
        for part in (pixels[: rows * 5 // 8], pixels[rows * 7 // 8 :])
    )
    upright = foot == [not bit for bit in head]
    return int("".join("01"[bit] for bit in head), 2) if upright else None


def numbers(clip):
    """The numbers that the frames of a stored clip show."""
    return [number_of(pixels_of(jpeg)) for jpeg in clip.frames]


ENCODERS = {
    "libx264": ("yuv444p", {"g": "12", "bf": "2"}),
    "libx265": ("yuv420p", {"g": "12", "bf": "2", "x265-params": "log-level=none"}),
    "libvpx-vp9": ("yuv420p", {"g": "12", "deadline": "realtime"}),
    "libvpx": ("yuv420p", {"g": "12", "deadline": "realtime"}),
    "libsvtav1": ("yuv420p", {"g": "12", "preset": "12"}),
    "mpeg4": ("yuv420p", {"g": "12", "bf": "2"}),
    "msmpeg4": ("yuv420p", {"g": "12"}),
    "mpeg2video": ("yuv420p", {"g": "12", "bf": "2"}),
    "mjpeg": ("yuvj420p", {}),
    "gif": ("gray", {}),
}


def write_video(
    path,
    times,
    *,
    frames=None,
    size=(48, 64),
    codec="libx264",
    pixels=None,
    tick=Fraction(1, 10),
    aspect=None,
    muxer=None,
    encoder=None,
    prepare=None,
    all_key=False,
):
    """Writes a frame at each of `times`, in ticks, with B-frames and a keyframe every 12 frames.

    Args:
      path: The name says the container.
      times: Timestamps.
      frames: uint8 [T, H, W, 3]; None for frames that show 0, 1, 2, …
      size: (height, width).
      codec: Name of the encoder.
      pixels: Format of its pixels; None for the codec's own.
      tick: Seconds between timestamps.
      aspect: Width over height of a pixel.
      muxer: Options of the container.
      encoder: Options of the encoder, besides its own.
      prepare: Called with the stream before the first frame.
      all_key: Whether the container says of each picture that it is a key picture.
    """
    own_pixels, own_options = ENCODERS[codec]
    with usual_priority(), av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=1 / tick)
        stream.height, stream.width = size
        stream.pix_fmt = pixels or own_pixels
        stream.time_base = stream.codec_context.time_base = tick
        stream.options = {**own_options, **(encoder or {})}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if prepare:
            prepare(stream)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(counter(number, *size) if frames is None else frames[number])
            frame.pts, frame.time_base = time, tick
            container.mux(_flagged(stream.encode(frame), all_key))
        container.mux(_flagged(stream.encode(None), all_key))
    return str(path)


@contextlib.contextmanager
def usual_priority():
    """As root, SVT-AV1 makes the thread that encodes a real-time one for good, which keeps the cores from others."""
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _flagged(packets, all_key):
    for packet in packets:
        packet.is_keyframe = packet.is_keyframe or all_key
    return packets


def join(path, *parts):
    """Writes parts one behind the other, as a recorder does that starts anew; they are gone then."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return str(path)


def write_joined(path, *starts):
    """Writes a file joined of as many as there are `starts`, in frames, of 15 frames each that are numbered on."""
    # MPEG-2 knows no ten frames a second.
    settings = {"codec": "mpeg2video", "tick": Fraction(1, 25)} if path.suffix == ".mpg" else {}
    parts = [path.with_stem(f"{path.stem}.{place}") for place in range(len(starts))]
    for place, (part, start) in enumerate(zip(parts, starts, strict=True)):
        frames = [counter(15 * place + number) for number in range(15)]
        write_video(part, range(start, start + 15), frames=frames, **settings)
    return join(path, *parts)


def weave(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """A picture whose upper field is of one, and whose lower of the other."""
    woven = top.copy()
    woven[1::2] = bottom[1::2]
    return woven


def silence() -> av.AudioFrame:
    """A tenth of a second."""
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), format="fltp", layout="mono")
    frame.sample_rate = 16000
    return frame


def write_with_sound(path, count: int, seconds: int, codec: str = "libx264", sound_codec: str = "aac") -> None:
    """Writes so many frames, ten a second, beside so many seconds of silence."""
    with av.open(str(path), "w") as container:
        sound, picture = container.add_stream(sound_codec, rate=16000), container.add_stream(codec, rate=10)
        sound.layout = "mono"
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(counter(number))))
        for _ in range(10 * seconds):
            container.mux(sound.encode(silence()))
        container.mux([*picture.encode(None), *sound.encode(None)])


# Rows of the display matrix (ISO/IEC 14496-12, 8.3.2), (x, y) -> (a x + c y, b x + d y), and how a picture is to be
# stored for it to be shown upright: as a phone writes it that is turned, and a camera of which one is the mirror image.
UPRIGHT = {
    "turned_0": ((1, 0, 0, 1), lambda picture: picture),
    "turned_90": ((0, 1, -1, 0), np.rot90),
    "turned_180": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "turned_270": ((0, -1, 1, 0), lambda picture: np.rot90(picture, 3)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "flipped": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda picture: picture.swapaxes(0, 1)),
    "transverse": ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).swapaxes(0, 1)),
    "no_matrix": ((0, 0, 0, 0), lambda picture: picture),
}


def write_turned(path, how):
    """Writes 30 frames of an MP4 or MOV file that are upright as `UPRIGHT[how]` shows them."""
    (a, b, c, d), stored = UPRIGHT[how]
    frames = [np.ascontiguousarray(stored(counter(number, 64, 96))) for number in range(30)]
    write_video(path, range(30), frames=frames, size=frames[0].shape[:2])
    with open(path, "rb+") as file:
        matrix = file.read().index(b"tkhd") + 4 + 40
        file.seek(matrix)
        file.write(struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
    return str(path)
