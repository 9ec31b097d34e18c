"""The SavedModel: signatures that take raw examples or JPEG frames, average over views, and name the classes.

Contract: every signature makes its views with `images.make_views` and normalises with `images.normalise`, as training
does: the same bytes give the same logits by every route. Memory does not grow with the views: one clip is decoded at a
time, and its views go through the network a few at a time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import keras
import tensorflow as tf

from models.checkpoints.own import WEIGHTS, write_weights
from models.clips import images, sampling
from models.network.rollout import attention_rollout, can_roll_out
from models.network.vivit import ViViTConfig
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
        self._clip, self._views = clip, views
        # Behind a function, so that the file has the variables alone: Keras' objects take a third of the time to load.
        self._model = lambda: model
        self._variables = [variable.value for variable in model.variables]
        self._classes = {head: list(names) for head, names in classes.items()}
        # One function that all signatures call: each would have a network of its own in the file, and load it.
        pixels = tf.TensorSpec([None, *clip.shape, 3], tf.uint8, name=serving.CLIPS)
        self.network = tf.function(self.logits, input_signature=[pixels])

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
    def make_views(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised raw examples to all views and, last, the centre view: uint8 [B, V + 1, T, H, W, 3]."""
        shape = [self._views.count + 1, *self._clip.shape, 3]
        clips = tf.map_fn(
            lambda jpegs: images.make_views(jpegs, self._clip, self._views, and_centre=True),
            _frames_of(examples),
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return {serving.CLIPS: clips}

    def logits(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Clips, uint8 [N, T, H, W, 3], to the logits of each head, float32 [N, K]."""
        logits = self._model()(images.normalise(clips), training=False)
        return {serving.logits_key(head): logits[head] for head in self._classes}

    def attention(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Clips, uint8 [N, T, H, W, 3], to how much each tubelet contributed, float32 [N, t, h, w]; a clip at a time.

        See `models.network.rollout.attention_rollout`.
        """
        maps = tf.map_fn(
            lambda clip: attention_rollout(self._model(), images.normalise(clip[tf.newaxis]))[0],
            clips,
            fn_output_signature=tf.float32,
            parallel_iterations=1,
        )
        return {serving.ATTENTION: maps}

    def save(
        self,
        model_dir: str,
        card: serving.ModelCard,
        expected: serving.ExpectedLogits,
        network: ViViTConfig | None = None,
    ) -> None:
        """Writes the SavedModel, with its card, the logits that it must reproduce, and its weights to start others.

        There is a signature of the attention only where the model is a network of `build_vivit`.

        Args:
          model_dir: Folder to write, any URI that TensorFlow writes.
          card: What the model states about itself.
          expected: The trainer's own logits.
          network: What `build_vivit` made the model of; None of another model, whose weights are in no file of their
            own.
        """
        signatures = {
            serving.EXAMPLES_SIGNATURE: self.serve_examples,
            serving.FRAMES_SIGNATURE: self.serve_frames,
            serving.VIEWS_SIGNATURE: self.make_views,
            serving.NETWORK_SIGNATURE: self.network,
        }
        if can_roll_out(self._model()):
            signatures[serving.ATTENTION_SIGNATURE] = tf.function(
                self.attention, input_signature=self.network.input_signature
            )
        tf.saved_model.save(self, model_dir, signatures=signatures)
        card.write(model_dir)
        expected.write(model_dir)
        if network:
            with tf.io.gfile.GFile(os.path.join(model_dir, WEIGHTS), "wb") as file:
                write_weights(file, self._model(), network=network, clip_shape=self._clip.shape, classes=self._classes)

    def _mean_logits(self, frames: tf.RaggedTensor, views: sampling.ViewsConfig) -> dict[str, tf.Tensor]:
        """Logits averaged over views, float32 [B, K] by head, of JPEG frames, string [B, (n)]."""
        per_step = next(size for size in range(min(views.per_step, views.count), 0, -1) if views.count % size == 0)
        outputs = {serving.logits_key(head): len(names) for head, names in self._classes.items()}

        def one_clip(jpegs: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = images.make_views(jpegs, self._clip, views)
            chunks = tf.reshape(pixels, [views.count // per_step, per_step, *self._clip.shape, 3])
            logits = tf.map_fn(
                self.network,
                chunks,
                fn_output_signature={key: tf.TensorSpec([per_step, size]) for key, size in outputs.items()},
                parallel_iterations=1,
            )
            return {key: tf.reduce_mean(value, axis=[0, 1]) for key, value in logits.items()}

        specs = {key: tf.TensorSpec([size]) for key, size in outputs.items()}
        logits = tf.map_fn(one_clip, frames, fn_output_signature=specs, parallel_iterations=2)
        return {head: logits[serving.logits_key(head)] for head in self._classes}

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
