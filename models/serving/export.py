"""The SavedModel: signatures that take raw examples or JPEG frames, average over views, and name the classes.

Contract: every signature makes its views with `images.make_views` and normalises with `images.normalise`, as training
does: the same bytes give the same logits by every route. Memory does not grow with the views: one clip is decoded at a
time, and its views go through the network a few at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from models.clips import images, sampling
from schemas import features, serving


class ServedModel(tf.Module):
    """A ViViT with every step from a video to a class name.

    Args:
      model: float32 clips [B, T, H, W, 3] to a dict of logits [B, K] by head.
      clip: How a clip is sampled from the stored frames.
      views: The views whose logits are averaged.
      classes: Class names by head, in the order of the logits.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        clip: sampling.ClipConfig,
        views: sampling.ViewsConfig,
        classes: Mapping[str, list[str]],
    ):
        super().__init__(name="vivit")
        self._model, self._clip, self._views = model, clip, views
        self._classes = {head: list(names) for head, names in classes.items()}
        self._class_ids = {
            head: tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(names, tf.range(len(names), dtype=tf.int64)), default_value=-1
            )
            for head, names in self._classes.items()
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=serving.EXAMPLES_INPUT)])
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised raw examples, string [B], to `logits`, `probabilities` and `classes` of each head, [B, K]."""
        return self._named(self._mean_logits(_frames_of(examples), self._views))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, name=serving.FRAMES_INPUT)])
    def serve_frames(self, frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """JPEG frames, string [B, N] padded with "", to the same outputs."""
        ragged = tf.ragged.boolean_mask(frames, tf.strings.length(frames) > 0)
        return self._named(self._mean_logits(ragged, self._views))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=serving.EXAMPLES_INPUT)])
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised raw examples to probabilities [B, K] of each head: over all views, and over the centre view."""
        frames = _frames_of(examples)
        over_views = self._mean_logits(frames, self._views)
        centre = self._mean_logits(frames, sampling.CENTRE_VIEW)
        return {
            **{head: tf.nn.softmax(logits) for head, logits in over_views.items()},
            **{serving.centre_view(head): tf.nn.softmax(logits) for head, logits in centre.items()},
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=serving.EXAMPLES_INPUT)])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised raw examples to class ids, int64 [B] by head; -1 for a class that the model does not know."""
        parsed = tf.io.parse_example(examples, features.label_spec(self._classes))
        return {
            features.label_id_key(head): table.lookup(parsed[features.label_key(head)])
            for head, table in self._class_ids.items()
        }

    def save(self, model_dir: str, card: serving.ModelCard, expected: serving.ExpectedLogits) -> None:
        """Writes the SavedModel, with its card and the logits that it must reproduce."""
        tf.saved_model.save(
            self,
            model_dir,
            signatures={
                serving.EXAMPLES_SIGNATURE: self.serve_examples,
                serving.FRAMES_SIGNATURE: self.serve_frames,
                serving.EVALUATION_SIGNATURE: self.evaluate,
                serving.TRANSFORM_SIGNATURE: self.transform_features,
            },
        )
        card.write(model_dir)
        expected.write(model_dir)

    def _mean_logits(self, frames: tf.RaggedTensor, views: sampling.ViewsConfig) -> dict[str, tf.Tensor]:
        """Logits averaged over views, float32 [B, K] by head, of JPEG frames, string [B, (n)]."""
        per_step = next(size for size in range(min(views.per_step, views.count), 0, -1) if views.count % size == 0)
        signature = {head: tf.TensorSpec([len(names)], tf.float32) for head, names in self._classes.items()}

        def one_clip(jpegs: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = images.make_views(jpegs, self._clip, views)
            chunks = tf.reshape(pixels, [views.count // per_step, per_step, *self._clip.shape, 3])
            logits = tf.map_fn(
                lambda chunk: self._model(images.normalise(chunk), training=False),
                chunks,
                fn_output_signature={h: tf.TensorSpec([per_step, *s.shape], s.dtype) for h, s in signature.items()},
                parallel_iterations=1,
            )
            return {head: tf.reduce_mean(value, axis=[0, 1]) for head, value in logits.items()}

        return tf.map_fn(one_clip, frames, fn_output_signature=signature, parallel_iterations=2)

    def _named(self, logits: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = {}
        for head, value in logits.items():
            outputs[serving.logits_key(head)] = value
            outputs[serving.probabilities_key(head)] = tf.nn.softmax(value)
            outputs[serving.classes_key(head)] = tf.tile([self._classes[head]], [tf.shape(value)[0], 1])
        return outputs


def _frames_of(examples: tf.Tensor) -> tf.RaggedTensor:
    """JPEG frames of serialised raw examples, string [B, (n)]."""
    return tf.RaggedTensor.from_sparse(tf.io.parse_example(examples, features.frames_spec())[features.CLIP_FRAMES])
