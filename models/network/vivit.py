"""The ViViT family (Arnab et al., ICCV 2021): the paper's four models as Keras functional models.

`ViViTConfig` defines a network, `build_vivit` builds it for a clip's shape and the heads' classes. The network is the
one of the reference implementation (google-research/scenic, projects/vivit), and so are the names of its weights.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, get_args, get_type_hints

import keras
from keras import ops

from models.network.embeddings import (
    ClassToken,
    PositionEmbedding,
    PositionKind,
    TubeletEmbedding,
    TubeletInit,
    sampled_frames,
)
from models.network.layers import (
    AttentionOrder,
    EncoderBlock,
    FactorizedSelfAttentionBlock,
    KernelInit,
    LayerNorm,
    register,
    shared_dropout,
)

Variant = Literal["spacetime", "factorized_encoder", "factorized_self_attention", "factorized_dot_product"]
Classifier = Literal["token", "gap", "gmp", "gsp", "0"]
ComputeDtype = Literal["float32", "bfloat16"]

FIRST_TOKEN = ("token", "0")
POOLS = {"gap": ops.mean, "gmp": ops.max, "gsp": ops.sum}


@dataclasses.dataclass(frozen=True)
class ViViTConfig:
    """A network of the family, without what the data decides: clip shape and classes.

    Attributes:
      variant: Model 1 "spacetime" attends over all tokens at once; model 2 "factorized_encoder" over the tokens of a
        frame, then over frames; model 3 "factorized_self_attention" over time and space in turn in each block; model 4
        "factorized_dot_product" over time with half of the heads and over space with the other half.
      tubelet: (t, h, w) of a token, in frames and pixels.
      hidden_size: Width D of a token.
      num_layers: Blocks of the encoder; of the spatial one in model 2.
      temporal_layers: Model 2's temporal blocks; 0 averages over time instead (the paper's baseline). Others ignore it.
      num_heads: Attention heads; they divide hidden_size. Even for model 4.
      mlp_dim: Width of the MLP's hidden layer.
      temporal_num_heads, temporal_mlp_dim: The same for model 2's temporal encoder; None as in the spatial one.
      classifier: What the head sees of the encoder's output: "token" a class token (models 1 and 2), "gap", "gmp",
        "gsp" the mean, maximum or sum over tokens, "0" the first token.
      representation_size: Width of a tanh layer before the head; None without.
      dropout, attention_dropout: Rates in [0, 1), in training. In model 2's spatial encoder all frames share a mask.
      stochastic_depth: Rate in [0, 1) at the last block, growing linearly from 0 at the first, in training. The branch
        that survives is not rescaled. Model 3 has none.
      position_embedding: See `models.network.embeddings.PositionEmbedding`.
      sampled_frames: Where not None, tokens are made of that many single frames (tubelet t = 1, 2-D kernel).
      tubelet_init: How a fresh tubelet kernel is drawn, see `models.network.embeddings.TubeletInitializer`.
      attention_order: Model 3's order.
      temporal_init: Model 3's fresh kernels of attention over time; with "zero" it starts as the spatial model (paper
        section 3.4; the reference's "zero" empties the kernels of attention over space too).
      dtype: Of matrix products in the blocks. Weights, softmax, normalisation and logits are float32 in any case.

    Raises:
      ValueError: Where a value is not allowed; names the field, the value and what is allowed.
    """

    variant: Variant = "factorized_encoder"
    tubelet: tuple[int, int, int] = (2, 16, 16)
    hidden_size: int = 768
    num_layers: int = 12
    temporal_layers: int = 4
    num_heads: int = 12
    mlp_dim: int = 3072
    temporal_num_heads: int | None = None
    temporal_mlp_dim: int | None = None
    classifier: Classifier = "token"
    representation_size: int | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    stochastic_depth: float = 0.0
    position_embedding: PositionKind = "learned_1d"
    sampled_frames: int | None = None
    tubelet_init: TubeletInit = "central_frame"
    attention_order: AttentionOrder = "time_space"
    temporal_init: KernelInit = "xavier"
    dtype: ComputeDtype = "float32"

    def __post_init__(self):
        for field, choices in CHOICES.items():
            self._require(field, getattr(self, field) in choices, f"one of {', '.join(choices)}")
        for field in ("hidden_size", "num_layers", "num_heads", "mlp_dim"):
            self._require(field, getattr(self, field) >= 1, "1 or more")
        for field in ("temporal_num_heads", "temporal_mlp_dim", "representation_size", "sampled_frames"):
            self._require(field, getattr(self, field) is None or getattr(self, field) >= 1, "1 or more, or None")
        for field in ("dropout", "attention_dropout", "stochastic_depth"):
            self._require(field, 0 <= getattr(self, field) < 1, "in [0, 1)")
        self._require("temporal_layers", self.temporal_layers >= 0, "0 or more")
        self._require("tubelet", len(self.tubelet) == 3 and min(self.tubelet) >= 1, "(t, h, w), each 1 or more")
        divides = f"a divisor of hidden_size {self.hidden_size}"
        self._require("num_heads", self.hidden_size % self.num_heads == 0, divides)
        self._require("temporal_num_heads", self.hidden_size % (self.temporal_num_heads or 1) == 0, divides)
        if self.sampled_frames is not None:
            self._require("tubelet", self.tubelet[0] == 1, "t = 1 with sampled_frames")
        if self.variant in ("factorized_self_attention", "factorized_dot_product"):
            self._require("classifier", self.classifier in POOLS, f"one of {', '.join(POOLS)} with {self.variant}")
        if self.variant == "factorized_self_attention":
            self._require("stochastic_depth", self.stochastic_depth == 0, f"0 with {self.variant}")
        if self.variant == "factorized_dot_product":
            self._require("num_heads", self.num_heads % 2 == 0, f"even with {self.variant}")

    def _require(self, field: str, holds: bool, allowed: str):
        if not holds:
            raise ValueError(f"ViViTConfig.{field}: given {getattr(self, field)!r}, allowed is {allowed}")


CHOICES = {
    field: get_args(hint)
    for field, hint in get_type_hints(ViViTConfig).items()
    if getattr(hint, "__origin__", 0) is Literal
}


def token_grid(config: ViViTConfig, clip_shape: Sequence[int]) -> tuple[int, int, int]:
    """Tokens in (frames, rows, columns) of a clip (T, H, W).

    Raises:
      ValueError: Where the clip is smaller than one tubelet.
    """
    frames, height, width = clip_shape
    if config.sampled_frames is not None:
        frames = len(sampled_frames(frames, config.sampled_frames))
    grid = tuple(size // side for size, side in zip((frames, height, width), config.tubelet, strict=True))
    if min(grid) < 1:
        raise ValueError(f"a clip of (T, H, W) = {tuple(clip_shape)} holds no tubelet of (t, h, w) = {config.tubelet}")
    return grid


@register
class Encoder(keras.layers.Layer):
    """Position embedding, transformer blocks and a last layer normalisation.

    Takes and returns tokens float32 [B, N, D], or [B, T, N, D] to encode each of T frames by itself.

    Args:
      block: "joint", or "factorized_self_attention" or "factorized_dot_product", which separate time and space in the N
        of [B, N, D] by the grid.
      grid: Tokens in (frames, rows, columns), without a class token.
      num_layers, num_heads, mlp_dim, position_embedding, dropout, attention_dropout, stochastic_depth,
        attention_order, temporal_init: As in `ViViTConfig`.
      shared_over_time: Whether all T share the dropout masks.
      first_token_only: Whether the last block computes the first token only, and N = 1 comes out; "joint" only.
      compute_dtype: Of the blocks' matrix products.
    """

    def __init__(
        self,
        block: Literal["joint", "factorized_self_attention", "factorized_dot_product"],
        grid: Sequence[int],
        num_layers: int,
        num_heads: int,
        mlp_dim: int,
        position_embedding: PositionKind = "learned_1d",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        attention_order: AttentionOrder = "time_space",
        temporal_init: KernelInit = "xavier",
        shared_over_time: bool = False,
        first_token_only: bool = False,
        compute_dtype: ComputeDtype = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.block, self.grid, self.first_token_only = block, tuple(grid), first_token_only
        self.positions = PositionEmbedding(position_embedding, grid, name="posembed_input")
        self.dropout = shared_dropout(dropout, shared_over_time)
        both = {"dropout": dropout, "attention_dropout": attention_dropout, "compute_dtype": compute_dtype}
        self.blocks = []
        for layer in range(num_layers):
            name = f"encoderblock_{layer}"
            if block == "factorized_self_attention":
                order = {"order": attention_order, "temporal_init": temporal_init}
                self.blocks.append(FactorizedSelfAttentionBlock(num_heads, mlp_dim, **order, **both, name=name))
            else:
                axis = "space" if block == "joint" else "time_and_space"
                rate = stochastic_depth * layer / max(num_layers - 1, 1)
                own = {"axis": axis, "stochastic_depth": rate, "shared_over_time": shared_over_time}
                own["first_token_only"] = first_token_only and layer == num_layers - 1
                self.blocks.append(EncoderBlock(num_heads, mlp_dim, **own, **both, name=name))
        self.norm = LayerNorm(name="encoder_norm")

    def build(self, tokens_shape):
        """Builds the layers."""
        self.positions.build(tokens_shape)
        frames, rows, columns = self.grid
        separated = (tokens_shape[0], frames, rows * columns, tokens_shape[-1])
        for block in self.blocks:
            block.build(tokens_shape if self.block == "joint" else separated)
        self.norm.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given."""
        return collections.deque(self.stages(tokens, training), maxlen=1).pop()

    def stages(self, tokens, training=False):
        """Yields the tokens that enter each block, as that takes them, and last those that `call` returns."""
        shape = (-1, *tokens.shape[1:])
        tokens = self.dropout(self.positions(tokens), training=training)
        if self.block != "joint":
            frames, rows, columns = self.grid
            tokens = ops.reshape(tokens, (-1, frames, rows * columns, shape[-1]))
        for block in self.blocks:
            yield tokens
            tokens = block(tokens, training=training)
        tokens = self.norm(tokens)
        yield tokens if self.block == "joint" else ops.reshape(tokens, shape)

    def compute_output_shape(self, tokens_shape):
        """Keeps Keras from tracing all blocks to find the shape."""
        return (*tokens_shape[:-2], 1 if self.first_token_only else tokens_shape[-2], tokens_shape[-1])


@register
class TokenPool(keras.layers.Layer):
    """Pools tokens [..., N, D] to [..., D].

    Args:
      classifier: "token" or "0" takes the first; "gap", "gmp", "gsp" mean, maximum, sum.
    """

    def __init__(self, classifier: Classifier, **kwargs):
        super().__init__(**kwargs)
        self.classifier = classifier

    def call(self, tokens):
        """Returns [..., D]."""
        return POOLS[self.classifier](tokens, axis=-2) if self.classifier in POOLS else tokens[..., 0, :]


@register
class FlattenTokens(keras.layers.Layer):
    """[B, T, N, D] to [B, T * N, D], time first."""

    def call(self, tokens):
        """Returns [B, T * N, D]."""
        return ops.reshape(tokens, (-1, tokens.shape[1] * tokens.shape[2], tokens.shape[3]))


@register
class SplitHeads(keras.layers.Layer):
    """Splits logits [B, K] into one tensor a head.

    Args:
      heads: Classes by head, in the order of the logits.
    """

    def __init__(self, heads: Mapping[str, int], **kwargs):
        super().__init__(**kwargs)
        self.heads = dict(heads)

    def call(self, logits):
        """Returns head -> logits [B, classes]."""
        ends = itertools.accumulate(self.heads.values())
        return {head: logits[:, end - size : end] for (head, size), end in zip(self.heads.items(), ends, strict=True)}


def build_vivit(
    config: ViViTConfig,
    *,
    clip_shape: tuple[int, int, int],
    heads: Mapping[str, int],
    all_tokens: bool = False,
    name: str = "vivit",
) -> keras.Model:
    """Builds a fresh network of the family.

    It takes "clip", float32 [B, T, H, W, 3] in [-1, 1]; returns head -> logits float32 [B, K]. The heads are parts of
    one dense layer ``output_projection``, in the mapping's order, zeros at first. Weights have the reference's
    names, see `weights_by_name`.

    Args:
      config: The network.
      clip_shape: (T, H, W) in frames and pixels.
      heads: Classes by head.
      all_tokens: Whether the last block of an encoder computes all tokens where only the first is read (classifiers
        "token" and "0"), as the reference does. The logits are the same, the published GFLOPs are counted so, and
        the output of layer "Transformer" is the reference's encoder output.
      name: Of the model.

    Raises:
      ValueError: Where the clip holds no tubelet, or the heads are none or empty.
    """
    if not heads or min(heads.values()) < 1:
        raise ValueError(f"heads: given {dict(heads)}, wanted one head or more with one class or more each")
    grid = token_grid(config, clip_shape)
    clip = keras.Input((*clip_shape, 3), dtype="float32", name="clip")
    tokens = TubeletEmbedding(
        config.tubelet, config.hidden_size, config.sampled_frames, config.tubelet_init, name="embedding"
    )(clip)
    if config.variant == "factorized_encoder":
        features = _factorized_encoder(config, grid, tokens, all_tokens)
    else:
        features = _single_encoder(config, grid, tokens, all_tokens)
    if config.representation_size is not None:
        features = keras.layers.Dense(config.representation_size, activation="tanh", name="pre_logits")(features)
    head = keras.layers.Dense(
        sum(heads.values()), kernel_initializer="zeros", name="output_projection", dtype="float32"
    )
    return keras.Model(clip, SplitHeads(heads, name="logits")(head(features)), name=name)


def _single_encoder(config, grid, tokens, all_tokens):
    """Models 1, 3 and 4 from tokens [B, T, N, D] to features [B, D]."""
    tokens = FlattenTokens(name="flatten")(tokens)
    if config.classifier == "token":
        tokens = ClassToken(name="cls")(tokens)
    block = "joint" if config.variant == "spacetime" else config.variant
    tokens = _encoder(config, block, grid, all_tokens, name="Transformer")(tokens)
    return TokenPool(config.classifier, name="pool")(tokens)


def _factorized_encoder(config, grid, tokens, all_tokens):
    """Model 2 from tokens [B, T, N, D] to features [B, D]: each frame by itself, then the sequence of frames."""
    frames, rows, columns = grid
    if config.classifier == "token":
        tokens = ClassToken(name="cls_SpatialTransformer")(tokens)
    spatial = _encoder(
        config, "joint", (1, rows, columns), all_tokens, name="SpatialTransformer", shared_over_time=True
    )
    frame_features = TokenPool(config.classifier, name="spatial_pool")(spatial(tokens))
    if not config.temporal_layers:
        return TokenPool("gap", name="pool")(frame_features)
    if config.classifier == "token":
        frame_features = ClassToken(name="cls_TemporalTransformer")(frame_features)
    temporal = _encoder(
        dataclasses.replace(
            config,
            num_layers=config.temporal_layers,
            num_heads=config.temporal_num_heads or config.num_heads,
            mlp_dim=config.temporal_mlp_dim or config.mlp_dim,
        ),
        "joint",
        (frames, 1, 1),
        all_tokens,
        name="TemporalTransformer",
    )
    return TokenPool(config.classifier, name="pool")(temporal(frame_features))


def _encoder(config, block, grid, all_tokens, *, name, shared_over_time=False):
    return Encoder(
        block,
        grid,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        mlp_dim=config.mlp_dim,
        position_embedding=config.position_embedding,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        stochastic_depth=config.stochastic_depth,
        attention_order=config.attention_order,
        temporal_init=config.temporal_init,
        shared_over_time=shared_over_time,
        first_token_only=not all_tokens and config.classifier in FIRST_TOKEN,
        compute_dtype=config.dtype,
        name=name,
    )


def weights_by_name(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a network of `build_vivit` by the reference's names, e.g. ``Transformer/encoder_norm/scale``."""
    return {variable.path.removesuffix("/token"): variable for variable in model.weights}
