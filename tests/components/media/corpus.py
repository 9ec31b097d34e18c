"""A corpus of files as the world has them: good ones that show their frame's number, and bad ones.

Every file is made by PyAV, or by an edit of the bytes of one that PyAV made; its maker says which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.stream import Disposition
from PIL import ExifTags, Image

from tests.components.media.videos import (
    UPRIGHT,
    counter,
    join,
    silence,
    weave,
    write_joined,
    write_turned,
    write_video,
    write_with_sound,
)

# Files by name: the maker, and the numbers that a player shows at 10 frames a second.
GOOD: dict[str, tuple[Callable[[Path], object], list[int]]] = {}
# Files by name: the maker, and words that the reason has.
BAD: dict[str, tuple[Callable[[Path], object], str]] = {}


def make_corpus(folder: Path) -> None:
    """Writes every file of the corpus under `folder`, which exists."""
    for name, (make, _) in {**GOOD, **BAD}.items():
        make(folder / name)


def _good(name: str, shows: Iterable[int] = tuple(range(30))):
    def register(make: Callable[[Path], object]):
        GOOD[name] = (make, list(shows))
        return make

    return register


def _bad(name: str, reason: str):
    def register(make: Callable[[Path], object]):
        BAD[name] = (make, reason)
        return make

    return register


def _coded(name: str, **settings) -> None:
    _good(name)(lambda path: write_video(path, range(30), **settings))


# Codecs and containers; all but MJPEG, GIF, AV1, VP8 and VP9 with B-frames.
for _name, _codec in [
    ("h264.mp4", "libx264"),
    ("h264.mov", "libx264"),
    ("h264.mkv", "libx264"),
    ("h264.ts", "libx264"),
    ("h264.flv", "libx264"),
    ("h264.h264", "libx264"),
    ("h265.mp4", "libx265"),
    ("h265.mkv", "libx265"),
    ("vp8.webm", "libvpx"),
    ("vp9.webm", "libvpx-vp9"),
    ("vp9.mp4", "libvpx-vp9"),
    ("mpeg4.avi", "mpeg4"),
    ("h264.avi", "libx264"),
    ("mpeg4.mp4", "mpeg4"),
    ("mpeg2.mpg", "mpeg2video"),
    ("mjpeg.avi", "mjpeg"),
    ("mjpeg.mov", "mjpeg"),
    ("gif.gif", "gif"),
]:
    _coded(_name, codec=_codec)
if "libsvtav1" in av.codecs_available:
    _coded("av1.mp4", codec="libsvtav1")
    _coded("av1.webm", codec="libsvtav1")
_coded("fragmented.mp4", muxer={"movflags": "frag_keyframe+empty_moov"})
_coded("odd.mp4", size=(45, 63))
_coded("odd.webm", size=(45, 63), codec="libvpx-vp9")
_coded("wide.mp4", aspect=Fraction(4, 3))
_coded("ten_bit.mp4", codec="libx265", pixels="yuv420p10le")
_coded("name with spaces, é and 视频.mp4")


for _how in UPRIGHT:
    _good(f"{_how}.mov")(lambda path, how=_how: write_turned(path, how))


@_good("variable_rate.mkv", [0, 2, 2, 2, 2, 3, *[4] * 9, 5])
def _variable_rate(path: Path) -> None:
    write_video(path, [0, 40, 80, 500, 540, 1500, 1540, 1560], tick=Fraction(1, 1000))


@_good("late_start.mkv")
def _late_start(path: Path) -> None:
    write_video(path, range(70, 100))


@_good("late_start.ts")
def _late_start_stream(path: Path) -> None:
    write_video(path, range(70, 100))


# A recording whose clock starts anew midway: at zero, long after, long before.
for _name, _starts in {"joined.ts": (0, 0), "joined_later.ts": (0, 900), "joined_earlier.ts": (900, 0)}.items():
    _good(f"clock_{_name}")(lambda path, starts=_starts: write_joined(path, *starts))
_good("clock_joined_thrice.ts", range(45))(lambda path: write_joined(path, 0, 900, 0))
_good("clock_joined.mpg", [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27])(lambda path: write_joined(path, 0, 0))


def _midway(name: str) -> None:
    @_good(name, range(12, 40))
    def make(path: Path) -> None:
        # What comes before the first keyframe (of every twelfth frame) is part of the file, but cannot be decoded.
        write_video(whole := path.with_suffix(".whole.mkv"), range(40), encoder={"sc_threshold": "0"})
        with av.open(str(whole)) as source, av.open(str(path), "w") as container:
            stream = container.add_stream_from_template(source.streams.video[0])
            for packet in list(source.demux(video=0))[4:-1]:
                packet.stream = stream
                container.mux(packet)
        whole.unlink()


for _name in ("midway.mkv", "midway.ts", "midway.mp4"):
    _midway(_name)


# AVI stores when a frame is decoded; frames that a camera dropped are empty chunks.
@_good("dropped.avi", [*range(10), *[9] * 5, *range(10, 30)])
def _dropped(path: Path) -> None:
    write_video(path, [*range(10), *range(15, 35)], codec="mpeg4")


# Frames that the decoder holds back until the end have no time of their own: they are as long as others.
@_good("gap_before_the_end.avi", [*range(20), *[19] * 30, 20, 21, 22])
def _gap_before_the_end(path: Path) -> None:
    write_video(path, [*range(20), *range(50, 53)])


# So do Advanced Systems Format and MXF as some write them, with frames stored out of order.
_coded("h264.asf")
_good("h264.mxf", [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27])(
    lambda path: write_video(path, range(30), tick=Fraction(1, 25), pixels="yuv420p")
)


@_good("turned_by_its_stream.mp4")
def _turned_by_its_stream(path: Path) -> None:
    # The stream states its orientation once, before its first frame.
    whole = path.with_suffix(".whole.mkv")
    frames = [np.rot90(counter(number, 64, 96)) for number in range(30)]
    write_video(whole, range(30), frames=frames, size=frames[0].shape[:2])
    with av.open(str(whole)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        turn = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=-90", source.streams.video[0])
        for packet in source.demux(video=0):
            for turned in turn.filter(packet if packet.size else None):
                turned.stream = stream
                container.mux(turned)
    whole.unlink()


@_good("turned_by_exif.mjpeg", [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27])
def _turned_by_exif(path: Path) -> None:
    # Motion JPEG of a camera: each picture has a header of its own, which says to turn it clockwise.
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with open(path, "wb") as file:
        for number in range(30):
            Image.fromarray(np.rot90(counter(number, 64, 96))).save(file, "JPEG", exif=exif)


@_good("unfinished.avi")
def _unfinished(path: Path) -> None:
    # A recorder that does not come to its end leaves some number of frames in the header of the stream.
    write_video(path, range(30), codec="mpeg4")
    content = bytearray(path.read_bytes())
    length = content.index(b"vids") + 32
    content[length : length + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    path.write_bytes(content)


@_good("one_frame.mp4", [0])
def _one_frame(path: Path) -> None:
    write_video(path, [0])


_good("sound_too.mp4", range(10))(lambda path: write_with_sound(path, 10, 1))
# These state how long the whole file is, also where its pictures end earlier.
for _name in ("sound_longer.flv", "sound_longer.asf"):
    _good(_name, range(10))(lambda path: write_with_sound(path, 10, 3))


@_good("appended_to.gif")
def _appended_to(path: Path) -> None:
    write_video(path, range(30), codec="gif")
    with open(path, "ab") as file:
        file.write(b"what some tool appends" * 100)


@_good("without_its_end.gif")
def _without_its_end(path: Path) -> None:
    write_video(path, range(30), codec="gif")
    # All its pictures are there.
    assert path.read_bytes().endswith(b"\0;")
    os.truncate(path, path.stat().st_size - 1)


@_good("second_is_default.mkv", range(10))
def _second_is_default(path: Path) -> None:
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for stream, width in zip(streams, (128, 64), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for number in range(10):
            for stream, shown in zip(streams, (200, number), strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(counter(shown, 48, stream.width))))
        for stream in streams:
            container.mux(stream.encode(None))


@_good("interlaced.ts")
def _interlaced(path: Path) -> None:
    # The lower field is half a frame later, and shows another number.
    frames = [weave(counter(number, 96, 128), counter(255 - number, 96, 128)) for number in range(30)]
    encoder = {"x264-params": "tff=1", "crf": "12"}
    write_video(path, range(30), frames=frames, size=(96, 128), pixels="yuv420p", encoder=encoder)


@_bad("empty.mp4", "it is empty")
def _empty(path: Path) -> None:
    path.touch()


@_bad("text.mp4", "it is no video")
def _text(path: Path) -> None:
    path.write_text("not a video, but long enough to be looked at. " * 50)


@_bad("playlist.mp4", "a list of other files")
def _playlist(path: Path) -> None:
    # FFmpeg goes by what is in a file, and opens what that names.
    named = Path(write_video(path.with_name("named.ts"), range(10)))
    named.rename(named.with_suffix(""))
    path.write_text("ffconcat version 1.0\nfile named\n")


@_bad("unknown_codec.mkv", "no decoder")
def _unknown_codec(path: Path) -> None:
    write_video(path, range(3))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"))


@_bad("picture.mp4", "a picture")
def _picture(path: Path) -> None:
    Image.fromarray(counter(0)).save(path, "JPEG")


@_bad("sound.mp4", "no video stream")
def _sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        container.mux([*sound.encode(silence()), *sound.encode(None)])


@_bad("folder.mp4", "Is a directory")
def _folder(path: Path) -> None:
    path.mkdir()


@_bad("gone.mp4", "No such file")
def _gone(path: Path) -> None:
    # Root reads whatever has permissions; a link to nothing nobody reads.
    path.symlink_to(path.with_name("nowhere.mp4"))


@_bad("loop.mp4", "symbolic links")
def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@_bad("junk_before.ts", "it is no video, or its header or index is lost")
def _junk_before(path: Path) -> None:
    write_video(path, range(10))
    path.write_bytes(np.random.default_rng(0).bytes(1_000_000) + path.read_bytes())


@_bad("zeros_behind.ts", "damaged, incomplete or encrypted")
def _zeros_behind(path: Path) -> None:
    # As of a download for which room was made first.
    write_video(path, range(10))
    path.write_bytes(path.read_bytes() + bytes(1_000_000))


@_bad("encrypted.mp4", "damaged, incomplete or encrypted")
def _encrypted(path: Path) -> None:
    keys = {"encryption_key": "76a6c65c5ea762046bd749a2e632ccbb", "encryption_kid": "a7e61c373e219033c21091fa607bf3b8"}
    write_video(path, range(10), muxer={"encryption_scheme": "cenc-aes-ctr", **keys})


def _cut(path: Path, share: float, codec: str = "libx264") -> None:
    write_video(path, range(100), codec=codec)
    os.truncate(path, int(share * path.stat().st_size))


@_bad("index_lost.mp4", "it is no video")
def _index_lost(path: Path) -> None:
    # The index (moov) of an MP4 file is at its end by default.
    write_video(path, range(100))
    os.truncate(path, path.read_bytes().rindex(b"moov") - 4)


for _name, _codec in [
    ("cut_off.mkv", "libx264"),
    ("cut_off.flv", "libx264"),
    ("cut_off.gif", "gif"),
]:
    _bad(_name, "cut off")(lambda path, codec=_codec: _cut(path, 0.5, codec))


@_bad("cut_off.avi", "cut off")
def _cut_offwrite_with_sound(path: Path) -> None:
    write_with_sound(path, 100, 10, "mpeg4", "pcm_s16le")
    os.truncate(path, path.stat().st_size // 2)


@_bad("first_bytes.mp4", "it is no video")
def _first_bytes(path: Path) -> None:
    _cut(path, 0.01)


@_bad("flipped_bits.mp4", "damaged")
def _flipped_bits(path: Path) -> None:
    write_video(path, range(30))
    content = bytearray(path.read_bytes())
    media = content.index(b"mdat")
    size = int.from_bytes(content[media - 4 : media], "big")
    for place in np.random.default_rng(0).integers(media + 1000, media + size - 8, 40):
        content[place] ^= 0x10
    path.write_bytes(content)


@_bad("huge_picture.avi", "ingest.max_pixels")
def _huge_picture(path: Path) -> None:
    # Both the stream's format (width and height of its bitmap header) and each frame header (SOF0) state the size.
    write_video(path, range(3), codec="mjpeg")
    content = bytearray(path.read_bytes())
    bitmap = content.index(b"strf") + 12
    content[bitmap : bitmap + 8] = (60000).to_bytes(4, "little") * 2
    frame = bytes.fromhex("ffc0 0011 08")
    path.write_bytes(content.replace(frame + bytes.fromhex("0030 0040"), frame + (60000).to_bytes(2, "big") * 2))


@_bad("huge_screen.gif", "ingest.max_pixels")
def _huge_screen(path: Path) -> None:
    # The logical screen of a GIF stands behind its signature.
    write_video(path, range(3), codec="gif")
    with open(path, "rb+") as file:
        file.seek(6)
        file.write((60000).to_bytes(2, "little") * 2)


def _different(path: Path, sizes: list[tuple[int, int]], aspects: list[Fraction | None]) -> None:
    # A transport stream may change its size midway, as two such files one after the other do.
    parts = [path.with_stem(f"{path.stem}.{place}") for place in range(2)]
    for place, (part, size, aspect) in enumerate(zip(parts, sizes, aspects, strict=True)):
        frames = [counter(10 * place + number, *size) for number in range(10)]
        write_video(part, range(10 * place, 10 * place + 10), frames=frames, size=size, aspect=aspect)
    join(path, *parts)


@_bad("joined.ts", "changes its shape")
def _joined(path: Path) -> None:
    _different(path, [(48, 64), (64, 48)], [None, None])


@_bad("stretched_midway.ts", "changes its shape")
def _stretched_midway(path: Path) -> None:
    # As television does between a film and the advertisements.
    _different(path, [(48, 64), (48, 64)], [Fraction(1), Fraction(4, 3)])


@_good("adaptive.ts", range(20))
def _adaptive(path: Path) -> None:
    # One shape, rounded to two sizes, as streams for different bandwidths have it: a pixel apart as they are stored.
    _different(path, [(60, 106), (120, 214)], [None, None])
