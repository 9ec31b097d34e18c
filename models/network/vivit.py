"""The ViViT family (Arnab et al., ICCV 2021): the paper's four models as Keras functional models.

`ViViTConfig` defines a network, `build_vivit` builds it for a clip's shape and the heads' classes. The network is the
one of the reference implementation (google-research/scenic, projects/vivit), and so are the names of its weights.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, get_args, get_type_hints

import keras

from models.network.attention import KernelInit, register
from models.network.embeddings import ClassToken, PositionKind, TubeletEmbedding, TubeletInit, sampled_frames
from models.network.encoder import ComputeDtype, Encoder
from models.network.layers import LAYER_NORM_EPSILON, AttentionOrder, Gelu, LayerNorm, block_policy
from models.network.pooling import (
    CLASS_TOKEN,
    FIRST_TOKEN,
    OF_ALL_TOKENS,
    AttentionPooler,
    AttentivePool,
    Classifier,
    FlattenTokens,
    SwapTimeAndSpace,
    TokenPool,
)

Variant = Literal["spacetime", "factorized_encoder", "factorized_self_attention", "factorized_dot_product"]
TemporalPool = Literal["mean", "concat"]

# Layers of every network: the dense layer of all heads, and what cuts its output into theirs.
HEAD, LOGITS = "output_projection", "logits"
# The pool of classifier "attentive", which is fitted with the head.
ATTENTIVE = "attentive"


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
      temporal_layers: Model 2's temporal blocks; 0 has none, see `temporal_pool`. Others ignore it.
      temporal_pool: Without temporal blocks, the frames' features are averaged ("mean", the paper's baseline), or stand
        side by side in the order of time ("concat"), so that a linear head tells motion.
      spatial_pool: Whether model 2's temporal encoder sees one token of each frame. Without it, it sees the frames of
        each position by themselves, and the head all tokens (VideoPrism, Zhao et al., ICML 2024).
      num_heads: Attention heads; they divide hidden_size. Even for model 4.
      mlp_dim: Width of the MLP's hidden layer.
      temporal_num_heads, temporal_mlp_dim: The same for model 2's temporal encoder; None as in the spatial one.
      classifier: What the head sees of the encoder's output: "token" a class token (models 1 and 2), "gap", "gmp",
        "gsp" the mean, maximum or sum over tokens, "0" the first token, "token_and_mean" a class token and the mean of
        the others side by side (DINOv2's linear evaluation, Oquab et al. 2023; no temporal blocks), "attention_pooler"
        what a learned token attends to (VideoPrism; in model 2 without `spatial_pool`), "attentive" what the heads of a
        learned query attend to among all tokens of all frames, and when that was (`AttentivePool`). In model 2, that is
        without temporal blocks, and with the frames' class tokens; or without `spatial_pool`.
      fc_norm: Of model 1 with "gap": the epsilon of a normalisation of the mean of the tokens, which are then not
        normalised themselves (MAE's and VideoMAE's fc_norm); None without.
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
      gelu: "tanh" for the approximation of the reference, "exact" as PyTorch's image ViTs have it.
      layer_norm_epsilon: What layer normalisation adds to the variance.
      attention_logit_cap: c, where the encoders' attention takes c * tanh(logit / c) for a logit (VideoPrism: 50); None
        takes the logit.
      registers: Learned tokens without a position, which attention sees and the head does not (Darcet et al., ICLR
        2024); of model 1, or of model 2's spatial encoder.
      patch_dropout: Share of the tokens, in [0, 1), that is left out in training, drawn anew for each clip, in model 2
        for each frame, so that a step costs less (Liu et al., WACV 2023). Class tokens stay. Models 1 and 2.
      dtype: Of matrix products in the blocks. Weights, softmax, normalisation and logits are float32 in any case.

    Raises:
      ValueError: Where a value is not allowed; names the field, the value and what is allowed.
    """

    variant: Variant = "factorized_encoder"
    tubelet: tuple[int, int, int] = (2, 16, 16)
    hidden_size: int = 768
    num_layers: int = 12
    temporal_layers: int = 4
    temporal_pool: TemporalPool = "mean"
    spatial_pool: bool = True
    num_heads: int = 12
    mlp_dim: int = 3072
    temporal_num_heads: int | None = None
    temporal_mlp_dim: int | None = None
    classifier: Classifier = "token"
    fc_norm: float | None = None
    representation_size: int | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    stochastic_depth: float = 0.0
    position_embedding: PositionKind = "learned_1d"
    sampled_frames: int | None = None
    tubelet_init: TubeletInit = "central_frame"
    attention_order: AttentionOrder = "time_space"
    temporal_init: KernelInit = "xavier"
    gelu: Gelu = "tanh"
    layer_norm_epsilon: float = LAYER_NORM_EPSILON
    attention_logit_cap: float | None = None
    registers: int = 0
    patch_dropout: float = 0.0
    dtype: ComputeDtype = "float32"

    @property
    def class_token(self) -> bool:
        """Whether a class token precedes those of the clip, or of each frame in model 2."""
        of_frames = self.variant == "factorized_encoder" and self.spatial_pool
        return self.classifier in CLASS_TOKEN or of_frames and self.classifier == "attentive"

    def __post_init__(self):
        for field, choices in CHOICES.items():
            self._require(field, getattr(self, field) in choices, f"one of {', '.join(choices)}")
        for field in ("hidden_size", "num_layers", "num_heads", "mlp_dim"):
            self._require(field, getattr(self, field) >= 1, "1 or more")
        for field in ("temporal_num_heads", "temporal_mlp_dim", "representation_size", "sampled_frames"):
            self._require(field, getattr(self, field) is None or getattr(self, field) >= 1, "1 or more, or None")
        for field in ("dropout", "attention_dropout", "stochastic_depth", "patch_dropout"):
            self._require(field, 0 <= getattr(self, field) < 1, "in [0, 1)")
        for field in ("temporal_layers", "registers"):
            self._require(field, getattr(self, field) >= 0, "0 or more")
        self._require("layer_norm_epsilon", 0 < self.layer_norm_epsilon < 1, "in (0, 1)")
        self._require("fc_norm", self.fc_norm is None or 0 < self.fc_norm < 1, "in (0, 1), or None")
        cap = self.attention_logit_cap
        self._require("attention_logit_cap", cap is None or cap > 0, "above 0, or None")
        self._require("tubelet", len(self.tubelet) == 3 and min(self.tubelet) >= 1, "(t, h, w), each 1 or more")
        divides = f"a divisor of hidden_size {self.hidden_size}"
        self._require("num_heads", self.hidden_size % self.num_heads == 0, divides)
        self._require("temporal_num_heads", self.hidden_size % (self.temporal_num_heads or 1) == 0, divides)
        if self.sampled_frames is not None:
            self._require("tubelet", self.tubelet[0] == 1, "t = 1 with sampled_frames")
        self._check_variant()

    @property
    def can_drop_patches(self) -> bool:
        """Whether tokens may be left out: no layer looks for the same place in another frame, or counts by frames."""
        by_frame = self.variant == "factorized_encoder" and self.spatial_pool
        return by_frame or (self.variant == "spacetime" and self.classifier != ATTENTIVE)

    def _check_variant(self):
        variant, encoders = self.variant, self.variant == "factorized_encoder"
        if variant in ("factorized_self_attention", "factorized_dot_product"):
            self._require(
                "classifier", self.classifier in OF_ALL_TOKENS, f"one of {', '.join(OF_ALL_TOKENS)} with {variant}"
            )
            self._require("registers", self.registers == 0, f"0 with {variant}")
        if variant == "factorized_self_attention":
            self._require("stochastic_depth", self.stochastic_depth == 0, f"0 with {variant}")
        of_frames = self.classifier == "token_and_mean" or self.classifier == "attentive" and self.spatial_pool
        if encoders and of_frames:
            self._require("temporal_layers", self.temporal_layers == 0, f"0 with classifier {self.classifier}")
        if self.classifier == "attentive":
            self._require("representation_size", self.representation_size is None, "None with classifier attentive")
        if encoders and self.classifier == "attention_pooler":
            self._require(
                "spatial_pool", not self.spatial_pool, f"False with {variant} and classifier attention_pooler"
            )
        if not self.spatial_pool:
            self._require("spatial_pool", encoders, f"True with {variant}")
            self._require("temporal_layers", self.temporal_layers >= 1, "1 or more without spatial_pool")
            allowed = f"one of {', '.join(OF_ALL_TOKENS)} without spatial_pool"
            self._require("classifier", self.classifier in OF_ALL_TOKENS, allowed)
        if not self.can_drop_patches:
            self._require(
                "patch_dropout",
                self.patch_dropout == 0,
                f"0 with {variant}, {self.classifier}, spatial_pool={self.spatial_pool}",
            )
        if self.fc_norm is not None:
            averaged = variant == "spacetime" and self.classifier == "gap"
            self._require("fc_norm", averaged, "None unless variant is spacetime and classifier gap")
        if variant == "factorized_dot_product":
            self._require("num_heads", self.num_heads % 2 == 0, f"even with {variant}")
        if self.classifier == "attention_pooler":
            self._require("mlp_dim", self.mlp_dim % self.num_heads == 0, f"a multiple of num_heads {self.num_heads}")

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
    head = keras.layers.Dense(sum(heads.values()), kernel_initializer="zeros", name=HEAD, dtype="float32")
    return keras.Model(clip, SplitHeads(heads, name=LOGITS)(head(features)), name=name)


def _single_encoder(config, grid, tokens, all_tokens):
    """Models 1, 3 and 4 from tokens [B, T, N, D] to features [B, D]."""
    tokens = FlattenTokens(name="flatten")(tokens)
    if config.class_token:
        tokens = ClassToken(name="cls")(tokens)
    block = "joint" if config.variant == "spacetime" else config.variant
    tokens = _encoder(config, block, grid, all_tokens, name="Transformer", last_norm=config.fc_norm is None)(tokens)
    features = _pool(config, grid, tokens)
    return features if config.fc_norm is None else LayerNorm(config.fc_norm, name="fc_norm")(features)


def _factorized_encoder(config, grid, tokens, all_tokens):
    """Model 2 from tokens [B, T, N, D] to features [B, D]: each frame by itself, then the sequence of frames."""
    frames, rows, columns = grid
    if config.class_token:
        tokens = ClassToken(name="cls_SpatialTransformer")(tokens)
    spatial = _encoder(
        config, "joint", (1, rows, columns), all_tokens, name="SpatialTransformer", shared_over_time=True
    )
    if not config.spatial_pool:
        tokens = SwapTimeAndSpace(name="frames_of_positions")(spatial(tokens))
        tokens = _temporal_encoder(config, frames, all_tokens)(tokens)
        tokens = SwapTimeAndSpace(name="positions_of_frames")(tokens)
        return _pool(config, grid, FlattenTokens(name="flatten")(tokens))
    if config.classifier == "attentive":
        return _pool(config, grid, FlattenTokens(name="flatten")(spatial(tokens)))
    frame_features = TokenPool(config.classifier, name="spatial_pool")(spatial(tokens))
    if not config.temporal_layers:
        return TokenPool("gap" if config.temporal_pool == "mean" else "concat", name="pool")(frame_features)
    if config.classifier == "token":
        frame_features = ClassToken(name="cls_TemporalTransformer")(frame_features)
    return TokenPool(config.classifier, name="pool")(_temporal_encoder(config, frames, all_tokens)(frame_features))


def _temporal_encoder(config, frames, all_tokens):
    config = dataclasses.replace(
        config,
        num_layers=config.temporal_layers,
        num_heads=config.temporal_num_heads or config.num_heads,
        mlp_dim=config.temporal_mlp_dim or config.mlp_dim,
        registers=0,
    )
    return _encoder(config, "joint", (frames, 1, 1), all_tokens, name="TemporalTransformer")


def _pool(config, grid, tokens):
    """All tokens [B, N, D], time first, to features [B, D]."""
    if config.classifier == "attentive":
        return AttentivePool(config.num_heads, grid[0], name=ATTENTIVE, dtype="float32")(tokens)
    if config.classifier != "attention_pooler":
        return TokenPool(config.classifier, name="pool")(tokens)
    own = {"name": "pooler", "dtype": block_policy(config.dtype)}
    return AttentionPooler(config.num_heads, config.mlp_dim, config.layer_norm_epsilon, **own)(tokens)


def _encoder(config, block, grid, all_tokens, *, name, shared_over_time=False, last_norm=True):
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
        registers=config.registers,
        compute_dtype=config.dtype,
        gelu=config.gelu,
        layer_norm_epsilon=config.layer_norm_epsilon,
        attention_logit_cap=config.attention_logit_cap,
        last_norm=last_norm,
        patch_dropout=config.patch_dropout if name != "TemporalTransformer" else 0.0,
        kept_tokens=int(config.classifier in (*CLASS_TOKEN, *FIRST_TOKEN)),
        name=name,
    )


def read_by_heads(model: keras.Model) -> keras.KerasTensor | None:
    """The features that the heads of a network of `build_vivit` read, all the same: [B, D]; None of other models.

    D is `hidden_size`, or `representation_size` where there is such a layer; 2 * hidden_size with classifier
    "token_and_mean"; frames * hidden_size with `temporal_pool` "concat" and no temporal blocks; and of an
    `AttentivePool` heads * (hidden_size + frames). Frames are those of `token_grid`.
    """
    return next((layer.input for layer in model.layers if layer.name == HEAD), None)


def weights_by_name(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a network of `build_vivit` by the reference's names, e.g. ``Transformer/encoder_norm/scale``."""
    return {variable.path.removesuffix("/token"): variable for variable in model.weights}
