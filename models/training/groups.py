"""Weights that are updated in their own way: rates by depth, new layers faster, and weights that stay as they are.

Contract: names and patterns are the reference's names of weights (`models.network.vivit.weights_by_name`), e.g.
``SpatialTransformer/encoderblock_0/LayerNorm_0/scale``. Every factor of a rate multiplies the schedule's rate.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import keras

from models.network.vivit import weights_by_name

_HEAD = r"^(fc_norm|pooler|attentive|pre_logits|output_projection)/"
# Model 2's second encoder, and model 3's attention over time.
_TEMPORAL = r"^(cls_)?TemporalTransformer(/|$)|_time/"
_BLOCK = re.compile(r"(Spatial)?Transformer/encoderblock_(\d+)/")
_EMBEDDING = re.compile(r"embedding/|cls(_SpatialTransformer)?$|(Spatial)?Transformer/posembed_input/")
# Names that an error lists.
_LISTED = 8
_logger = logging.getLogger("vivit.train")


@dataclasses.dataclass(frozen=True)
class WeightGroup:
    """Weights whose name matches a pattern, and how they are updated.

    Attributes:
      pattern: Regular expression that is found anywhere in the weight's name; ``^`` and ``$`` bind it to its ends.
      rate: Factor of the learning rate, above 0; decay per step shrinks with it.
      weight_decay: In place of the optimizer's, of kernels too; None keeps the optimizer's.
      frozen: Whether the weights stay as they are: no gradient, no decay, no part in the gradient's norm.
    """

    pattern: str
    rate: float = 1.0
    weight_decay: float | None = None
    frozen: bool = False

    def __post_init__(self):
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"WeightGroup.pattern {self.pattern!r} is no regular expression: {error}") from error
        if self.rate <= 0:
            raise ValueError(f"WeightGroup.rate must be above 0, got {self.rate}; frozen keeps weights as they are.")
        if self.weight_decay is not None and self.weight_decay < 0:
            raise ValueError(f"WeightGroup.weight_decay must be 0 or more, or None, got {self.weight_decay}.")
        if self.frozen and (self.rate != 1 or self.weight_decay is not None):
            raise ValueError(f"WeightGroup {self.pattern!r} is frozen: it takes neither rate nor weight_decay.")


@dataclasses.dataclass(frozen=True)
class GroupsConfig:
    """Which weights are updated in their own way; by default none.

    Attributes:
      layer_decay: Layer-wise decay of the rate in (0, 1], see `layer_of`; None is off.
      frozen_layers: Share of the layers that stay as they are, from the embedding on, in [0, 1]; see `layer_of`.
      head_rate: Factor of the rate of what follows the encoders, above 0.
      temporal_rate: Factor of the rate of model 2's temporal encoder, or model 3's attention over time, above 0.
      groups: Groups by pattern; a weight belongs to the first that matches.
    """

    layer_decay: float | None = None
    frozen_layers: float = 0.0
    head_rate: float = 1.0
    temporal_rate: float = 1.0
    groups: tuple[WeightGroup, ...] = ()

    def __post_init__(self):
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"OptimizerConfig.layer_decay must be in (0, 1] or None, got {self.layer_decay}.")
        if not 0 <= self.frozen_layers <= 1:
            raise ValueError(f"OptimizerConfig.frozen_layers must be in [0, 1], got {self.frozen_layers}.")
        for field in ("head_rate", "temporal_rate"):
            if getattr(self, field) <= 0:
                raise ValueError(f"OptimizerConfig.{field} must be above 0, got {getattr(self, field)}.")


class Rule(NamedTuple):
    """How one weight is updated: factor of the rate, decay (None for the optimizer's), or not at all."""

    rate: float = 1.0
    weight_decay: float | None = None
    frozen: bool = False


def layer_of(name: str, blocks: int) -> int:
    """The layer id of a weight in an encoder of `blocks` blocks, as BEiT and MAE count (`get_layer_id_for_vit`).

    Tubelet and position embedding and class token are layer 0, block i is i + 1, and all that follows the last block is
    blocks + 1. Model 2 counts its spatial blocks, which an image model can fill; its temporal encoder is new and small,
    and counts as what follows them: it keeps the full rate.
    """
    if block := _BLOCK.match(name):
        return int(block[2]) + 1
    return 0 if _EMBEDDING.match(name) else blocks + 1


def rules_of(config: GroupsConfig, names: Iterable[str]) -> dict[str, Rule]:
    """The rule of each weight by name.

    A rate is layer_decay ** (blocks + 1 - layer) (BEiT, Bao et al. 2022; MAE, He et al. 2022), times the factors of
    head, temporal layers and group.

    Raises:
      ValueError: Where a group, or `temporal_rate`, has no weight, or no weight is left to train.
    """
    names = list(names)
    blocks = 1 + max((int(block[2]) for name in names if (block := _BLOCK.match(name))), default=-1)
    group_of = {name: next((g for g in config.groups if re.search(g.pattern, name)), None) for name in names}
    for group in config.groups:
        if group not in group_of.values():
            raise ValueError(
                f"train.optimizer.groups: no weight for the pattern {group.pattern!r}: none matches, or earlier groups "
                f"have them all; {_some(names)}"
            )
    if config.temporal_rate != 1 and not any(re.search(_TEMPORAL, name) for name in names):
        raise ValueError(f"train.optimizer.temporal_rate: this network has no weights over time alone; {_some(names)}")
    rules = {}
    for name, group in group_of.items():
        layer = layer_of(name, blocks)
        if not group and config.frozen_layers and layer <= config.frozen_layers * blocks:
            rules[name] = Rule(frozen=True)
            continue
        rate = 1.0 if config.layer_decay is None else config.layer_decay ** (blocks + 1 - layer)
        rate *= config.head_rate if re.search(_HEAD, name) else 1.0
        rate *= config.temporal_rate if re.search(_TEMPORAL, name) else 1.0
        rules[name] = Rule(rate * group.rate, group.weight_decay, group.frozen) if group else Rule(rate)
    if all(rule.frozen for rule in rules.values()):
        raise ValueError("train.optimizer.groups: every weight is frozen; nothing is left to train")
    return rules


def apply_groups(model: keras.Model, config: GroupsConfig) -> dict[str, Rule]:
    """Freezes weights of a network of `build_vivit`, and returns the rules of all its weights by their paths.

    Frozen weights are not among the `trainable_variables` any more.

    Raises:
      ValueError: As `rules_of`.
    """
    weights = weights_by_name(model)
    rules = rules_of(config, weights)
    for name, weight in weights.items():
        weight.trainable = not rules[name].frozen
    if config != GroupsConfig():
        _logger.info("%s", describe(rules))
    return {weights[name].path: rule for name, rule in rules.items()}


def describe(rules: Mapping[str, Rule]) -> str:
    """E.g. "weights by factor of the rate: 12 frozen, 30 at 0.75, 2 at 10"."""
    rates = collections.Counter(rule.rate for rule in rules.values() if not rule.frozen)
    frozen = sum(rule.frozen for rule in rules.values())
    parts = [f"{frozen} frozen"] * bool(frozen) + [f"{count} at {rate:.3g}" for rate, count in sorted(rates.items())]
    return f"weights by factor of the rate: {', '.join(parts)}"


def _some(names: Sequence[str]) -> str:
    shown = names[:: -(-len(names) // _LISTED)]
    return f"some of the {len(names)} names: {', '.join(shown)}"
