"""The SavedModel: signatures that take raw examples or JPEG frames, average over views, and name the classes.

Contract: every signature makes its views with `images.make_views` and normalises with `images.normalise`, as training
does: the same bytes give the same logits by every route. Memory does not grow with the views: one clip is decoded at a
time, and its views go through the network a few at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import tensorflow as tf

from models.checkpoints.own import WEIGHTS, write_weights
from models.clips import images, sampling
from models.network.rollout import attention_rollout, can_roll_out
from models.network.vivit import ViViTConfig, read_by_heads
from models.serving.warmup import black_frame, write_warmup
from schemas import features, serving

_JPEG_FRAMES = [
    tf.TensorSpec([None, None], tf.string, name=serving.FRAMES_INPUT),
    tf.TensorSpec([None], tf.int32, name=serving.NUM_FRAMES_INPUT),
]


def _traced(signature: Sequence[tf.TypeSpec]) -> Callable:
    # AutoGraph takes longer than all else to trace a network, and has nothing to do in it.
    return tf.function(input_signature=signature, autograph=False)


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
        features = read_by_heads(model)
        self._embeds = features is not None
        network = keras.Model(model.input, [model.output, features]) if self._embeds else model
        self._outputs = lambda: network
        self._variables = [variable.value for variable in model.variables]
        self._classes = {head: list(names) for head, names in classes.items()}
        # Functions that the signatures call: each would have a network of its own in the file, and load it.
        pixels = tf.TensorSpec([None, *clip.shape, 3], tf.uint8, name=serving.CLIPS)
        self.network = _traced([pixels])(self.compute)
        rows = tf.RaggedTensorSpec([None, None], tf.string)
        self.means = _traced([rows])(lambda frames: self._means_over(frames, views))

    @_traced([tf.TensorSpec([None], tf.string, name=serving.EXAMPLES_INPUT)])
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised raw examples, string [B], to `logits`, `probabilities` and `classes` of each head, [B, K]."""
        return self._named(self.means(_frames_of(examples)))

    @_traced(_JPEG_FRAMES)
    def serve_frames(self, frames: tf.Tensor, num_frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """JPEG frames, string [B, N], of which the first int32 [B] are each clip's, to the same outputs."""
        return self._named(self.means(_first(frames, num_frames)))

    @_traced(_JPEG_FRAMES)
    def serve_one_view(self, frames: tf.Tensor, num_frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same of the centre view alone."""
        return self._named(self._means_over(_first(frames, num_frames), sampling.CENTRE_VIEW))

    def embed(self, frames: tf.Tensor, num_frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same frames to the embedding, the mean over all views, and that with unit length: float32 [B, D] each."""
        embedding = self.means(_first(frames, num_frames))[serving.EMBEDDING]
        return {serving.EMBEDDING: embedding, serving.EMBEDDING_L2: tf.math.l2_normalize(embedding, axis=-1)}

    @_traced([tf.TensorSpec([None], tf.string, name=serving.EXAMPLES_INPUT)])
    def make_views(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised raw examples to all views and, last, the centre view: uint8 [B, V + 1, T, H, W, 3]."""
        shape = [self._views.count + 1, *self._clip.shape, 3]
        clips = tf.map_fn(
            lambda jpegs: images.make_views(jpegs, self._clip, self._views, and_centre=True),
            _frames_of(examples),
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return {serving.CLIPS: clips}

    def compute(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Clips, uint8 [N, T, H, W, 3], to the logits of each head, float32 [N, K], and the embedding, [N, D]."""
        outputs = self._outputs()(images.normalise(clips), training=False)
        logits, features = outputs if self._embeds else (outputs, None)
        found = {serving.logits_key(head): logits[head] for head in self._classes}
        return found | {serving.EMBEDDING: tf.cast(features, tf.float32)} if self._embeds else found

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
        warmup: Iterable[bytes] | None = None,
    ) -> None:
        """Writes the SavedModel, with its card, the logits that it must reproduce, and its weights to start others.

        There are signatures of the attention and of the embedding only where the model is a network of `build_vivit`.

        Args:
          model_dir: Folder to write, any URI that TensorFlow writes.
          card: What the model states about itself.
          expected: The trainer's own logits.
          network: What `build_vivit` made the model of; None of another model, whose weights are in no file of their
            own.
          warmup: JPEG frames of a clip for the warm-up requests, see `write_warmup`; None: one black frame.
        """
        signatures = {
            serving.EXAMPLES_SIGNATURE: self.serve_examples,
            serving.FRAMES_SIGNATURE: self.serve_frames,
            serving.ONE_VIEW_SIGNATURE: self.serve_one_view,
            serving.VIEWS_SIGNATURE: self.make_views,
            serving.NETWORK_SIGNATURE: self.network,
        }
        if self._embeds:
            signatures[serving.EMBEDDING_SIGNATURE] = _traced(_JPEG_FRAMES)(self.embed)
        if can_roll_out(self._model()):
            signatures[serving.ATTENTION_SIGNATURE] = _traced(self.network.input_signature)(self.attention)
        tf.saved_model.save(self, model_dir, signatures=signatures)
        card.write(model_dir)
        expected.write(model_dir)
        write_warmup(model_dir, warmup or [black_frame(self._clip.crop_size)], signatures)
        if network:
            with tf.io.gfile.GFile(os.path.join(model_dir, WEIGHTS), "wb") as file:
                write_weights(file, self._model(), network=network, clip_shape=self._clip.shape, classes=self._classes)

    def _means_over(self, frames: tf.RaggedTensor, views: sampling.ViewsConfig) -> dict[str, tf.Tensor]:
        """Outputs of the network averaged over views, float32 [B, ...], of JPEG frames, string [B, (n)]."""
        per_step = next(size for size in range(min(views.per_step, views.count), 0, -1) if views.count % size == 0)
        outputs = self.network.get_concrete_function().structured_outputs
        widths = {key: output.shape[-1] for key, output in outputs.items()}

        def one_clip(jpegs: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = images.make_views(jpegs, self._clip, views)
            values = tf.map_fn(
                self.network,
                tf.reshape(pixels, [views.count // per_step, per_step, *self._clip.shape, 3]),
                fn_output_signature={key: tf.TensorSpec([per_step, width]) for key, width in widths.items()},
                parallel_iterations=1,
            )
            return {key: tf.reduce_mean(value, axis=[0, 1]) for key, value in values.items()}

        specs = {key: tf.TensorSpec([width]) for key, width in widths.items()}
        return tf.map_fn(one_clip, frames, fn_output_signature=specs, parallel_iterations=2)

    def _named(self, means: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = {}
        for head, names in self._classes.items():
            logits = means[serving.logits_key(head)]
            outputs[serving.logits_key(head)] = logits
            outputs[serving.probabilities_key(head)] = tf.nn.softmax(logits)
            outputs[serving.classes_key(head)] = tf.tile([names], [tf.shape(logits)[0], 1])
        return outputs


def _frames_of(examples: tf.Tensor) -> tf.RaggedTensor:
    """JPEG frames of serialised raw examples, string [B, (n)]."""
    return tf.RaggedTensor.from_sparse(tf.io.parse_example(examples, features.frames_spec())[features.CLIP_FRAMES])


def _first(frames: tf.Tensor, num_frames: tf.Tensor) -> tf.RaggedTensor:
    """The first `num_frames`, int32 [B], of the frames of each row, string [B, N]: string [B, (n)].

    Raises:
      tf.errors.InvalidArgumentError: One is not 1 to N, or there is not one for each row.
    """
    longest = tf.shape(frames)[1]
    each_row = tf.debugging.assert_equal(
        tf.shape(num_frames), tf.shape(frames)[:1], "num_frames must have one number for each row of frames"
    )
    with tf.control_dependencies([each_row]):
        inside = tf.reduce_all((num_frames >= 1) & (num_frames <= longest))
    said = ["num_frames must be from 1 to the length of a row of frames; they are:", num_frames, longest]
    with tf.control_dependencies([tf.debugging.Assert(inside, said)]):
        return tf.ragged.boolean_mask(frames, tf.sequence_mask(num_frames, longest))
