"""Made-up reviews: models of a known skill on clips of several sources, gated as a run would gate them."""

import dataclasses
import functools
import io

import numpy as np
from PIL import Image

from components.evaluation.config import EvaluationConfig
from components.evaluation.gate import assess
from components.media.filmstrip import draw_attention, draw_filmstrip
from components.registry.records import Canary, Candidate, Data, Training
from components.review.facts import Curve, Review, clips_to_show
from schemas.predictions import CANDIDATE, PRODUCTION, Clips, Predictions, ScoredModel, Scores

HOSTILE = (
    "<script>document.title='owned'</script>",
    '=HYPERLINK("http://evil.example","x")',
    "long name " * 30,
    "\u202eקפיצה גבוהה\u202d",
    "a\"b'c`d</script><!--",
    "[link](http://evil.example) *bold* | cell",
)
NAMES = (
    "abseiling",
    "archery",
    "baking cookies",
    "bowling",
    "juggling balls",
    "juggling fire",
    "playing cello",
    "yoga",
)


def predictions(
    clips=240,
    classes=NAMES,
    heads=("activity",),
    skill=3.0,
    production_skill=2.5,
    places=("indoors", "outdoors"),
    seed=0,
):
    """Predictions of both models; a production skill of None leaves production out.

    A model adds `skill` to the true class's logit of noise; each class is a bit like the one after it.
    """
    draw = np.random.default_rng(seed)
    by_role = {CANDIDATE: skill} | ({} if production_skill is None else {PRODUCTION: production_skill})
    labels = {head: draw.integers(len(classes), size=clips) for head in heads}
    names = {head: [classes[number] for number in of.tolist()] for head, of in labels.items()}
    models = {
        role: ScoredModel(f"/{role}", role, "7" * (role == PRODUCTION), {head: list(classes) for head in heads}, (4, 3))
        for role in by_role
    }
    scores = {}
    for role, strength in by_role.items():
        scores[role] = {}
        for head in heads:
            logits = draw.normal(size=(clips, len(classes)))
            logits[np.arange(clips), labels[head]] += strength
            logits[np.arange(clips), (labels[head] + 1) % len(classes)] += strength / 2
            scores[role][head] = Scores.of(logits, logits + draw.normal(size=logits.shape) / 2, classes, names[head])
    where = Clips(
        ids=[f"clip-{number}" for number in range(clips)],
        groups=[f"source-{number // 3}" for number in range(clips)],
        paths=[f"videos/{names[heads[0]][number]}/{number:05d}.mp4" for number in range(clips)],
        starts=np.arange(clips) % 3 * 4.0,
        durations=np.full(clips, 4.0),
        split="eval",
        labels=names,
        slices={"place": [places[number] for number in draw.integers(len(places), size=clips).tolist()]},
    )
    return Predictions(where, models, scores)


def review(found, *, pictures=True, attention=True, duplicates=6, assessed=None):
    """A review of predictions, with pictures of the clips that need one.

    Args:
      found: The predictions.
      pictures: Whether there are filmstrips; or one strip for all clips.
      attention: Whether there are strips with heat.
      duplicates: How many clips look like one of training.
      assessed: Predictions to assess instead.
    """
    assessment = assess(assessed or found, EvaluationConfig())
    pairs = {f"clip-{number * 5}": f"train-{number}" for number in range(duplicates)}
    shown = clips_to_show(found, assessment, pairs)
    candidate = Candidate(
        id="3f9c2a71d0b4",
        made="2026-11-20T14:03:00+00:00",
        label="more clips of cello",
        model_uri="/runs/demo/Trainer/model/5/Format-Serving",
        digest="3f9c2a71d0b4" + "0" * 52,
        data=Data(
            source="gs://videos/manifest.csv",
            manifest_hash="5d" * 32,
            clips={"train": 2400, "eval": len(found.clips)},
            classes={head: len(names) for head, names in found.models[CANDIDATE].classes.items()},
            lost={"open: no video stream": 3, "decode: its picture is damaged": 1},
        ),
        training=Training(
            recipe="kinetics400_b_fe",
            changes={"train.epochs": ("30", "12"), "model.init_from": ('""', '"gs://weights/vit_b"')},
            config={"train": {"seed": 17, "epochs": 12}, "model": {"kind": "factorised_encoder"}},
            seconds=5432.0,
            steps=1800,
            devices=("1 x NVIDIA H100",),
            versions={"vivit-tfx": "0.1.0", "tensorflow": "2.16.2", "keras": "3.12.0"},
        ),
        canary=Canary(True, "2 clips served; largest difference 0.0003"),
        assessment=assessment,
    )
    return Review(
        candidate=candidate,
        predictions=found,
        pictures={
            clip: pictures if isinstance(pictures, bytes) else filmstrip(number)
            for number, clip in enumerate(shown * bool(pictures))
        },
        attention={clip: heat_strip(number) for number, clip in enumerate(shown[:40])} if attention else {},
        duplicates=pairs,
        curves=(curve("train/loss", 2.1), curve("eval/loss", 2.3), curve("learning_rate", 0.1)),
        decision=None,
        workdir="/runs/demo",
    )


def hostile_review():
    """A review in which classes, paths, slices, heads and everything else have hostile names."""
    found = predictions(classes=HOSTILE, heads=HOSTILE[:2], places=HOSTILE, clips=90)
    clips = dataclasses.replace(found.clips, slices={HOSTILE[0]: found.clips.slices["place"]})
    made = review(dataclasses.replace(found, clips=clips))
    text = HOSTILE[0]
    candidate = dataclasses.replace(
        made.candidate,
        label=HOSTILE[3],
        data=dataclasses.replace(made.candidate.data, source=text, lost=dict.fromkeys(HOSTILE, 1)),
        training=dataclasses.replace(
            made.candidate.training, devices=(text,), changes={text: (text, text)}, versions={text: text}
        ),
        canary=Canary(False, text),
    )
    curves = tuple(curve(name, 1.0) for name in HOSTILE)
    return dataclasses.replace(
        made,
        candidate=candidate,
        curves=curves,
        duplicates=dict.fromkeys(made.duplicates, text),
        workdir=f"/runs/{text}",
    )


def curve(name, start):
    steps = tuple(range(0, 1800, 60))
    return Curve(name, steps, tuple(start * 0.998**step for step in steps))


def frames(number, count=16, size=(170, 128)):
    """JPEG frames of a ball that crosses a field."""
    made = []
    for index in range(count):
        y, x = np.mgrid[: size[1], : size[0]]
        ball = (x - size[0] * index / count) ** 2 + (y - size[1] / 2) ** 2 < 400
        pixels = np.stack([60 + 150 * ball, 90 + y * 0.6, (number * 37 % 160) + x * 0.3], axis=-1)
        jpeg = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(jpeg, "JPEG")
        made.append(jpeg.getvalue())
    return made


@functools.cache
def _strip(number):
    return draw_filmstrip(frames(number))


def filmstrip(number):
    return _strip(number % 12)


def noise_strip():
    """A strip of frames that no JPEG compresses well: as large as they come."""
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(256, size=(96, 128, 3), dtype=np.uint8)) for _ in range(8)]
    made = []
    for picture in pictures:
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=95)
        made.append(jpeg.getvalue())
    return draw_filmstrip(made)


def heat_strip(number):
    return _heat_strip(number % 12)


@functools.cache
def _heat_strip(number):
    x = np.mgrid[:8, :14, :14]
    attention = np.exp(-(((x[2] - 14 * x[0] / 8) ** 2 + (x[1] - 7) ** 2) / 8.0))
    return draw_attention(frames(number), attention)
