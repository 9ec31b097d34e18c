"""Turns decoded frames into JPEG pictures as a player shows them: upright, square pixels, progressive, in sRGB."""

from __future__ import annotations

import functools

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, ColorTrc, Interpolation, VideoReformatter
from simplejpeg import encode_jpeg

from components.media.config import DecodeConfig
from components.media.frames import TimedFrame, VideoError

# Pixels of a side that JPEG can store.
_MOST_SIDE = 65500
# Where a video does not state its matrix, players take BT.709 for high definition and BT.601 for less.
_HIGH_DEFINITION = 720
_UNSPECIFIED = 2
# Nits of diffuse white (ITU-R BT.2408), and from which share of white on highlights are compressed.
_WHITE, _KNEE = 203.0, 0.75
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


class Painter:
    """Makes the JPEG pictures of one video; equal frames next to each other are made once."""

    def __init__(self, path: str, config: DecodeConfig):
        self._path, self._config = path, config
        # One per video: without, each frame sets up a scaler and its threads, which costs 50 times the scaling.
        self._reformatter = VideoReformatter()
        self._painted: tuple[TimedFrame | None, bytes, tuple[int, int]] = (None, b"", (0, 0))

    def paint(self, shown: TimedFrame) -> tuple[bytes, tuple[int, int]]:
        """The JPEG bytes of a frame, and its (height, width) as stored.

        Raises:
          VideoError: If the frame is damaged, of no known colours, or its picture too large to be stored.
        """
        if shown is not self._painted[0]:
            if shown.frame.is_corrupt or shown.invented:
                wrong = "is damaged" if shown.frame.is_corrupt else "refers to one that is missing"
                raise VideoError(self._path, "decode", f"its picture {wrong} at {float(shown.time):.2f} s")
            try:
                pixels = self._upright(shown)
            except MemoryError:
                # FFmpeg's is one of its errors, too; the picture is not to blame.
                raise
            except av.error.FFmpegError as error:
                reason = f"its picture cannot be shown at {float(shown.time):.2f} s: {error.strerror}"
                raise VideoError(self._path, "decode", reason) from error
            jpeg = encode_jpeg(
                pixels, quality=self._config.jpeg_quality, colorspace="RGB", colorsubsampling="420", fastdct=False
            )
            self._painted = shown, jpeg, pixels.shape[:2]
        return self._painted[1:]

    def _upright(self, shown: TimedFrame) -> np.ndarray:
        """Resizes to the short side with square pixels and turns them upright; uint8 [H, W, 3]."""
        frame, config = shown.frame, self._config
        width, height = float(frame.width * shown.aspect), float(frame.height)
        scale = config.short_side / min(width, height)
        if scale > config.max_upscale:
            enlarged = f"to store its {frame.width}x{frame.height} pixels with ingest.short_side = {config.short_side}"
            reason = f"{enlarged} they would be enlarged {scale:.0f} times, more than ingest.max_upscale"
            raise VideoError(self._path, "decode", f"{reason} = {config.max_upscale:g}")
        width, height = (max(config.short_side, round(side * scale)) for side in (width, height))
        if max(width, height) > _MOST_SIDE or width * height > config.max_pixels:
            reason = f"its picture would be stored as {width}x{height}, more than ingest.max_pixels or JPEG allows"
            raise VideoError(self._path, "decode", reason)
        high_dynamic_range = frame.color_trc in _TO_LIGHT
        unspecified_hd = frame.colorspace == _UNSPECIFIED and min(frame.height, frame.width) >= _HIGH_DEFINITION
        resized = self._reformatter.reformat(
            _first_field(frame) if frame.interlaced_frame else frame,
            # Never "rgba": where nothing is scaled and a row has no room for a whole group of pixels, FFmpeg leaves the
            # last ones as memory was (340x256, the size of Kinetics, is such).
            format="rgb48le" if high_dynamic_range else "rgb24",
            width=width,
            height=height,
            src_colorspace=Colorspace.ITU709 if unspecified_hd else None,
            interpolation=Interpolation.AREA if scale < 1 else Interpolation.BICUBIC,
            threads=1,
        ).to_ndarray()
        if high_dynamic_range:
            resized = _standard_range(resized, frame.color_trc)
        return shown.orientation.apply(resized)


def _first_field(frame: VideoFrame) -> VideoFrame:
    """The upper field. Deinterlacers that look at neighbours would make a segment depend on where decoding began."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("field", "top"), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def _standard_range(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """Maps BT.2020 pictures of high dynamic range (uint16 [H, W, 3]) to sRGB (uint8 [H, W, 3]).

    Diffuse white (203 nits) is 1; what is brighter is compressed smoothly into the top of the range.
    """
    light = _TO_LIGHT[transfer]()[pixels]
    if transfer == ColorTrc.ARIB_STD_B67:
        # BT.2100's system gamma for a display of 1000 nits.
        light *= 1000 * (light @ _BT2020_LUMA)[..., None] ** 0.2
    light = np.maximum(light @ _BT2020_TO_BT709.T / _WHITE, 0)
    knee = _KNEE + (1 - _KNEE) * -np.expm1((_KNEE - light) / (1 - _KNEE))
    light = np.where(light > _KNEE, knee, light)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curved).astype(np.uint8)


@functools.cache
def _perceptual_quantizer() -> np.ndarray:
    """Nits of each 16-bit code (BT.2100, table 4)."""
    signal = np.linspace(0, 1, 1 << 16) ** (1 / 78.84375)
    light = np.maximum(signal - 0.8359375, 0) / (18.8515625 - 18.6875 * signal)
    return (10000 * light ** (1 / 0.1593017578125)).astype(np.float32)


@functools.cache
def _hybrid_log_gamma() -> np.ndarray:
    """Light of the scene, 0 to 1, of each 16-bit code (BT.2100, table 5)."""
    signal = np.linspace(0, 1, 1 << 16)
    light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return light.astype(np.float32)


_TO_LIGHT = {ColorTrc.SMPTE2084: _perceptual_quantizer, ColorTrc.ARIB_STD_B67: _hybrid_log_gamma}
