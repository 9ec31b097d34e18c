"""What each part of a training recipe is worth: the recipe without any of them, then with one more each time.

Every variant goes through the pipeline itself, from the same decoded clips to the same Evaluator. Finished steps
come from the cache: a stopped ablation resumes where it stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from components.evaluation.outcomes import parts_by_name
from components.evaluation.tfma.config import TOP_1
from components.registry.records import RunInfo
from models.clips.augment import NO_AUGMENTATION
from pipeline.data import prepare
from pipeline.local.workdir import held, places
from pipeline.recipe import Recipe
from pipeline.report import overall_metrics
from pipeline.run import run_nodes
from schemas import serving

# Where the recipe itself does not use it.
STOCHASTIC_DEPTH, LABEL_SMOOTHING, MIXUP = 0.1, 0.1, 0.1


@dataclasses.dataclass(frozen=True)
class Row:
    """One trained variant.

    Attributes:
      variant: What it adds to the row before.
      one_view: Top-1 on the centre view, 0 to 1, of each head and of all together.
      all_views: The same over the recipe's views.
    """

    variant: str
    one_view: Mapping[str, float]
    all_views: Mapping[str, float]


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe without any regularisation, and with one more part of it each time, by the part added.

    Augmentation is the recipe's own without mixup and CutMix; rates are the recipe's, or the module's where the
    recipe has none.
    """
    model, train = recipe.model, recipe.train
    augment = dataclasses.replace(recipe.augment, cutmix=0.0)
    plain = dataclasses.replace(
        recipe,
        augment=NO_AUGMENTATION,
        model=dataclasses.replace(model, stochastic_depth=0.0),
        train=dataclasses.replace(train, label_smoothing=0.0),
    )
    augmented = dataclasses.replace(plain, augment=dataclasses.replace(augment, mixup=0.0))
    rate = model.stochastic_depth or STOCHASTIC_DEPTH
    shallower = dataclasses.replace(augmented, model=dataclasses.replace(model, stochastic_depth=rate))
    smoothing = train.label_smoothing or LABEL_SMOOTHING
    smoothed = dataclasses.replace(shallower, train=dataclasses.replace(train, label_smoothing=smoothing))
    mixed = dataclasses.replace(smoothed, augment=dataclasses.replace(augment, mixup=augment.mixup or MIXUP))
    return {
        "no augmentation": plain,
        "+ augmentation": augmented,
        f"+ stochastic depth {rate:g}": shallower,
        f"+ label smoothing {smoothing:g}": smoothed,
        f"+ mixup {mixed.augment.mixup:g}": mixed,
    }


def ablate(data: str, workdir: str, recipes: Mapping[str, Recipe], echo: Callable[[str], None]) -> list[Row]:
    """Trains and evaluates recipes that differ in how they train, one row each.

    Args:
      data: CSV, JSONL or folder of classes.
      workdir: Local folder of everything that the runs keep.
      recipes: By the name of the row.
      echo: Called with each line for the user.

    Raises:
      ConfigError, ManifestError, NodeFailedError: As `pipeline.run.run`.
    """
    where = places(workdir)
    rows = []
    with held(where.local):
        for number, (variant, recipe) in enumerate(recipes.items(), start=1):
            echo(f"Variant {number} of {len(recipes)}: {variant}")
            prepared, manifest = prepare(data, where.workdir, recipe)
            info = RunInfo(variant, changes={}, config={}, source=data, label=variant, approval="none")
            results = run_nodes(recipe, prepared, where, echo, info, last="ModelGate")
            metrics = overall_metrics(results["Evaluator"].outputs["evaluation"][0])
            names = list(parts_by_name(manifest.heads))
            rows.append(
                Row(
                    variant,
                    one_view={name: metrics[serving.centre_view(name)][TOP_1] for name in names},
                    all_views={name: metrics[name][TOP_1] for name in names},
                )
            )
    return rows


def as_table(rows: Sequence[Row], views: str) -> str:
    """The rows as a Markdown table of top-1 accuracies."""
    names = list(rows[0].one_view)
    lines = [
        ["", *(f"{name}, {tested}" for name in names for tested in ("1x1", views))],
        ["---", *("---:" for _ in names for _ in range(2))],
        *(
            [row.variant, *(f"{top_1[name]:.3f}" for name in names for top_1 in (row.one_view, row.all_views))]
            for row in rows
        ),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
