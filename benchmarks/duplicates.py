"""What `vivit duplicates` finds of changed copies of the demo's clips, and what the review page's hashes find."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from components.evaluation.duplicates.hashes import clip_hash, near_duplicates
from components.manifest.listing import ListedClip
from components.media.decoder import Decoder
from pipeline.beam import step_args
from pipeline.demo_data import write_demo_data
from pipeline.inference.duplicates import find_duplicates
from pipeline.inference.job import JobConfig, run_job
from pipeline.inference.model import open_model

Frames = list[Image.Image]
# Clips of the demo that are searched, of digits that its training sees, or does not; those of the latter with copies.
_TRAINED, _EVALUATED, _COPIED = 720, 240, 120


def _each(change: Callable[[Image.Image], Image.Image]) -> Callable[[Frames], Frames]:
    return lambda frames: [change(frame) for frame in frames]


def _scaled(frame: Image.Image, factor: float) -> Image.Image:
    # H.264 needs even sides.
    return frame.resize([round(side * factor / 2) * 2 for side in frame.size], Image.Resampling.BICUBIC)


def _with_logo(frame: Image.Image) -> Image.Image:
    side = min(frame.size)
    ImageDraw.Draw(frame).rectangle((2, 2, 2 + side // 4, 2 + side // 8), fill="white")
    return frame


def _cropped(frame: Image.Image) -> Image.Image:
    (width, height), edge = frame.size, 0.05
    box = (width * edge, height * edge, width * (1 - edge), height * (1 - edge))
    return frame.resize(frame.size, Image.Resampling.BICUBIC, box=box)


# What is done to the frames of a copy, and the quality it is encoded with; the demo's own is 18.
CHANGES: dict[str, tuple[Callable[[Frames], Frames], int]] = {
    "encoded again, CRF 35": (lambda frames: frames, 35),
    "half the size, CRF 28": (_each(lambda frame: _scaled(frame, 0.5)), 28),
    "twice the size, CRF 28": (_each(lambda frame: _scaled(frame, 2)), 28),
    "the last 10 % cut off": (lambda frames: frames[: round(len(frames) * 0.9)], 23),
    "the first 10 % cut off": (lambda frames: frames[round(len(frames) * 0.1) :], 23),
    "brighter by 30 %": (_each(lambda frame: ImageEnhance.Brightness(frame).enhance(1.3)), 23),
    "a logo in the corner": (_each(_with_logo), 23),
    "5 % of each edge cropped": (_each(_cropped), 23),
    "flipped": (_each(lambda frame: frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), 23),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """What one way finds.

    Attributes:
      shares: Of the copies of each change, the share that is paired with its original.
      wrong: Clips, originals and copies, that are paired with a clip of something else.
    """

    shares: dict[str, float]
    wrong: int


def bench_duplicates(model: str, *, least: float) -> tuple[Found, Found]:
    """Searches the demo's clips for changed copies, with a model of the recipe demo: by embeddings, and by hashes.

    Args:
      model: SavedModel, or folder of numbered versions.
      least: Least similarity of embeddings.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        videos = write_demo_data(root, train=_TRAINED, eval=_EVALUATED).parent / "videos"
        originals = [ListedClip(str(path), str(path), id=path.stem) for path in sorted(videos.iterdir())]
        changed = []
        for clip in originals[:_COPIED]:
            for name in CHANGES:
                path = str(root / f"{clip.id} {name}.mp4")
                _write_copy(path, clip.file, name)
                changed.append(ListedClip(path, path, id=f"{clip.id} {name}"))
        outputs = [str(root / "originals"), str(root / "changed")]
        for output, listed in zip(outputs, (originals, changed), strict=True):
            run_job(listed, JobConfig(model, output, embedding=True), step_args())
        hashes, changed_hashes = (_hashes(model, listed) for listed in (originals, changed))
        pairs = [(row["clip"], row["of"]) for row in find_duplicates(*outputs, least=least).rows]
        alike = find_duplicates(outputs[0], None, least=least).clusters
    nearest = near_duplicates(changed_hashes, hashes)
    hashed = [(clip.id, originals[of].id) for clip, of in zip(changed, nearest, strict=True) if of >= 0]
    others = (np.delete(hashes, row, axis=0) for row in range(len(hashes)))
    hashed_alike = sum(near_duplicates(hashes[row : row + 1], of)[0] >= 0 for row, of in enumerate(others))
    return _found(pairs, sum(map(len, alike))), _found(hashed, int(hashed_alike))


def describe(by_embedding: Found, by_hash: Found) -> str:
    """A table in words."""
    lines = [f"{'copies that are found':28}embedding  hash"]
    for name, share in by_embedding.shares.items():
        lines.append(f"{name:28}{share:9.2f}  {by_hash.shares[name]:4.2f}")
    return "\n".join([*lines, f"{'clips with a wrong partner':28}{by_embedding.wrong:9}  {by_hash.wrong:4}"])


def _found(pairs: Sequence[tuple[str, str]], alike: int) -> Found:
    right = [copy for copy, original in pairs if copy.startswith(f"{original} ")]
    wrong = {copy for copy, original in pairs if not copy.startswith(f"{original} ")}
    return Found({name: sum(copy.endswith(name) for copy in right) / _COPIED for name in CHANGES}, alike + len(wrong))


def _hashes(model: str, clips: Sequence[ListedClip]) -> np.ndarray:
    """Hashes of clips as the model's own clips are stored."""
    hashes = []
    with Decoder(open_model(model).decode_config) as decoder:
        for clip in clips:
            ((_, stored),) = decoder.store_segments(clip.file, [(0.0, None)])
            hashes.append(clip_hash(stored.frames))
    return np.array(hashes)


def _write_copy(path: str, source: str, name: str) -> None:
    change, crf = CHANGES[name]
    with av.open(source) as container:
        rate = container.streams.video[0].average_rate
        frames = change([frame.to_image() for frame in container.decode(video=0)])
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "threads": "1"})
        (stream.width, stream.height), stream.pix_fmt = frames[0].size, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode(None))
