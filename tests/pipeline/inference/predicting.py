"""Predictions of a few videos, for tests."""

import functools

from components.manifest.listing import ListedClip
from pipeline.inference.model import open_model
from pipeline.inference.predictor import Predictor

# To load a model takes longer than all that a test does with it.
opened = functools.cache(open_model)


def predict(model, videos, *, start=None, end=None, **options):
    """Predictions of videos in order, by a model's folder."""
    clips = [ListedClip(str(video), str(video), "", start, end, str(video)) for video in videos]
    with Predictor(opened(str(model)), **options) as predictor:
        return [one for group in predictor.predict(predictor.groups(clips)) for one in group]
