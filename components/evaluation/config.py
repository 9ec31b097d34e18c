"""The settings of the gate and of the push."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The gate of a model.

    Attributes:
      split: The split that is evaluated.
      batch_views: Views that are in the network at a time, of any clips; None: as many as fit, by their size.
      beat_commonest: Whether the lower end of every head's 95 % interval must be above the commonest class's share.
      min_top_1: Top-1 accuracy over all views that every head must reach, 0 to 1.
      min_joint_top_1: The same of all heads together, where there are several.
      min_macro_top_1: Mean over classes of their top-1 that every head must reach, 0 to 1.
      max_ece: Highest expected calibration error that a head may have, 0 to 1.
      max_top_1_drop: How much of its top-1 a head, or all together, may lose against the model in production, 0 to 1.
      max_class_drop: How much of its top-1 a class or slice may lose where the loss is significant; None: any.
    """

    split: Literal["eval", "test"] = "eval"
    batch_views: int | None = None
    beat_commonest: bool = True
    min_top_1: float = 0.0
    min_joint_top_1: float = 0.0
    min_macro_top_1: float = 0.0
    max_ece: float = 1.0
    max_top_1_drop: float = 0.0
    max_class_drop: float | None = None

    def __post_init__(self):
        if self.batch_views is not None and self.batch_views < 1:
            raise ValueError(f"evaluation.batch_views is {self.batch_views}; it must be 1 or more")
        for field in ("min_top_1", "min_joint_top_1", "min_macro_top_1", "max_ece", "max_top_1_drop", "max_class_drop"):
            value = getattr(self, field)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"evaluation.{field} is {value}; it must be between 0 and 1")


@dataclasses.dataclass(frozen=True)
class PushConfig:
    """How a blessed model goes out.

    Attributes:
      approval: "required": it waits until a reviewer approves it with `vivit models approve`.
      smaller: Smaller forms that are made of every model and shown in its review: "float16", "int8", "tflite".
      max_smaller_drop: How much of its top-1 a head, or all together, may lose in a smaller form, 0 to 1.
    """

    approval: Literal["none", "required"] = "none"
    smaller: tuple[Literal["float16", "int8", "tflite"], ...] = ()
    max_smaller_drop: float = 0.01

    def __post_init__(self):
        if not 0 <= self.max_smaller_drop <= 1:
            raise ValueError(f"push.max_smaller_drop is {self.max_smaller_drop}; it must be between 0 and 1")
