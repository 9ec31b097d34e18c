"""Small videos of every form in which pictures refer to each other, with true and false indexes, whole and trimmed.

The same number gives the same file.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.components.media.videos import usual_priority

_FRAMES, _VARIABLE = 100, Fraction(1, 1000)
_X264 = "bframes={bf}:keyint={g}:min-keyint=1:ref={refs}"
# The codec, how its pixels are stored, its containers, and its forms: options of the encoder, in which the length of a
# group of pictures, the B-frames in a row and the frames that are referred to are filled in.
_CODECS = [
    (
        "libx264",
        "yuv420p",
        ("mp4", "mov", "mkv", "ts", "flv", "fragmented.mp4", "avi"),
        [
            {"x264-params": f"{_X264}:open-gop=0:b-pyramid=none:scenecut=0"},
            {"x264-params": f"{_X264}:open-gop=1:b-pyramid=normal:b-adapt=0:scenecut=0"},
            {"x264-params": f"{_X264}:open-gop=1:b-pyramid=strict"},
            {"x264-params": f"{_X264}:open-gop=0:b-pyramid=normal"},
            {"x264-params": "bframes=0:keyint={g}:intra-refresh=1"},
        ],
    ),
    (
        "libx265",
        "yuv420p",
        ("mp4", "mkv", "ts"),
        [
            {"x265-params": "log-level=none:bframes={bf}:keyint={g}:min-keyint=1:ref={refs}:open-gop=1:b-pyramid=1"},
            {"x265-params": "log-level=none:bframes=4:keyint=25:scenecut=0:open-gop=0:radl=2"},
            {"x265-params": "log-level=none:bframes=0:keyint={g}:open-gop=0:b-pyramid=0"},
        ],
    ),
    ("libvpx", "yuv420p", ("webm", "mkv"), [{"g": "{g}", "auto-alt-ref": "1", "lag-in-frames": "{bf}"}]),
    ("libvpx-vp9", "yuv420p", ("webm", "mp4"), [{"g": "{g}", "auto-alt-ref": "1", "lag-in-frames": "25"}]),
    ("libsvtav1", "yuv420p", ("mp4", "webm"), [{"g": "{g}", "preset": "12"}]),
    (
        "mpeg4",
        "yuv420p",
        ("mp4", "mov", "mkv", "avi", "3gp"),
        [{"g": "{g}", "bf": "2"}, {"g": "{g}", "bf": "0", "flags": "+mv4+qpel"}],
    ),
    ("h263", "yuv420p", ("mov", "3gp"), [{"g": "{g}"}]),
    ("msmpeg4", "yuv420p", ("mov", "mkv", "avi"), [{"g": "{g}"}]),
    ("wmv2", "yuv420p", ("wmv",), [{"g": "{g}"}]),
    ("flv", "yuv420p", ("flv",), [{"g": "{g}"}]),
    (
        "mpeg2video",
        "yuv420p",
        ("mov", "mkv", "ts", "mpg"),
        [{"g": "{g}", "bf": "2"}, {"g": "{g}", "bf": "2", "flags": "+cgop", "sc_threshold": "1000000000"}],
    ),
    ("mjpeg", "yuvj420p", ("mov", "avi"), [{}]),
]
_KINDS = [
    (codec, pixels, container, options)
    for codec, pixels, containers, forms in _CODECS
    for container in containers
    for options in forms
    if codec in av.codecs_available
]
_EDITED = {"mp4", "mov", "3gp"}
_FLAGGED = _EDITED | {"mkv", "webm", "fragmented.mp4"}
# These know few frame rates.
_CONSTANT = {"h263", "mpeg2video", "libsvtav1"}


@dataclasses.dataclass(frozen=True)
class Form:
    """A video to write.

    Attributes:
      container: How the name ends.
      codec, pixels, options: Of the encoder.
      tick: Seconds between its frames, or the unit of variable times.
      index: "true", "all" (each picture is called a key picture) or "some" (as many as there are, but others).
      edits: What a player shows, as shares of the video; none for the whole.
    """

    container: str
    codec: str
    pixels: str
    options: dict[str, str]
    tick: Fraction
    index: str
    edits: tuple[tuple[float, float], ...]


def form(number: int) -> Form:
    """One of all forms; neighbouring numbers are of different codecs and containers."""
    rng = np.random.default_rng(number)
    codec, pixels, container, options = _KINDS[number * 37 % len(_KINDS)]
    filled = {"g": int(rng.integers(5, 50)), "bf": int(rng.integers(1, 9)), "refs": int(rng.integers(1, 9))}
    ticks = [Fraction(1, 25)]
    if container in _FLAGGED and codec not in _CONSTANT:
        ticks += [Fraction(1001, 30000), Fraction(1, 4), _VARIABLE]
    tick = ticks[rng.integers(len(ticks))]
    edits: list[tuple[float, float]] = []
    if container in _EDITED and rng.random() < 0.6:
        begins = rng.uniform(0, 0.7, rng.integers(1, 3))
        edits = [(begin, rng.uniform(begin + 0.3, 1)) for begin in sorted(begins.tolist())]
    return Form(
        container,
        codec,
        pixels,
        {name: value.format(**filled) for name, value in options.items()},
        tick,
        str(rng.choice(["true", "all", "some"])) if container in _FLAGGED else "true",
        tuple(edits),
    )


def write_form(folder: Path, number: int) -> str:
    """Writes the video of a form."""
    made, rng = form(number), np.random.default_rng(number)
    path = folder / f"{number}.{made.container}"
    height, width = (96, 128) if made.codec == "h263" else (48, 64)
    muxer = {"movflags": "frag_keyframe+empty_moov"} if made.container == "fragmented.mp4" else {}
    with usual_priority(), av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(made.codec, rate=1 / made.tick)
        stream.height, stream.width, stream.pix_fmt = height, width, made.pixels
        stream.time_base = stream.codec_context.time_base = made.tick
        stream.codec_context.thread_count, stream.options = 1, made.options
        packets = []
        times = rng.choice([20, 33, 40, 67, 120], _FRAMES).cumsum() if made.tick == _VARIABLE else np.arange(_FRAMES)
        for time, picture in zip((times - times[0]).tolist(), scenes(rng, height, width, _FRAMES), strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = time, made.tick
            packets += stream.encode(frame)
        packets += stream.encode(None)
        flags = np.array([packet.is_keyframe for packet in packets])
        if made.index == "some":
            flags[1:] = rng.permutation(flags[1:])
        for packet, flag in zip(packets, flags.tolist(), strict=True):
            packet.is_keyframe = flag or made.index == "all"
            container.mux(packet)
    if made.edits:
        path.write_bytes(edited(path.read_bytes(), made.edits))
    return str(path)


def scenes(rng: np.random.Generator, height: int, width: int, count: int) -> Iterator[np.ndarray]:
    """Textures that move on by a pixel, cut now and then; the brightness at the top says which picture it is."""
    blocks = rng.integers(0, 256, (4, height // 8, 4 * width // 8, 3), dtype=np.uint8)
    textures, scene = blocks.repeat(8, axis=1).repeat(8, axis=2), 0
    for number in range(count):
        scene = (scene + (rng.random() < 0.04)) % len(textures)
        at = number % (3 * width)
        picture = textures[scene][:, at : at + width] // 2 + 64
        picture[: height // 8] = 16 + 7 * number % 200
        yield picture


def edited(content: bytes, edits: tuple[tuple[float, float], ...]) -> bytes:
    """An MP4 file of one track, its index behind its pictures, of which an edit list shows parts alone.

    Args:
      content: The file, with one edit of all of it, as FFmpeg writes it.
      edits: The parts (begin, end) as shares of that edit; they are shown one behind the other.
    """
    at = content.index(b"elst")
    if struct.unpack_from(">II", content, at + 4) != (0, 1):
        raise ValueError("wanted one edit, version 0")
    movie, media = (
        struct.unpack_from(">I", content, content.index(box) + shift)[0]
        for box, shift in ((b"mvhd", 16), (b"mdhd", 16))
    )
    length, start = struct.unpack_from(">Ii", content, at + 12)
    entries = b"".join(
        struct.pack(">IiI", round((end - begin) * length), start + round(begin * length * media / movie), 1 << 16)
        for begin, end in edits
    )
    grown = len(entries) - 12
    data = bytearray(content)
    data[at + 8 : at + 24] = struct.pack(">I", len(edits)) + entries
    for box in (b"elst", b"edts", b"trak", b"moov"):
        place = data.index(box) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack_from(">I", data, place)[0] + grown)
    return bytes(data)
