"""What `model.init_from` names: a checkpoint, a model of ours, the last model of a run, or the one in production.

Contract: it is looked up once, when a run is planned. The Trainer gets the file that was found, and its fingerprint has
the file's content: another model trains again, the same one comes from the cache.
"""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple

from components.registry.candidates import candidates
from components.registry.records import Candidate
from components.registry.versions import SAVED_MODEL, PushedModel, production, pushed_folder, standing
from components.storage import files
from models.checkpoints.architecture import network_of
from models.checkpoints.own import WEIGHTS, OwnCheckpoint, read_weights
from pipeline.recipe import PRODUCTION, Recipe
from pipeline.settings import ConfigError


class FirstWeights(NamedTuple):
    """Where a network's first weights are.

    Attributes:
      path: Checkpoint file or folder, any URI; None for fresh weights.
      version: Differs once the content does; empty for fresh weights.
      words: Which model or file it is, for the plan.
    """

    path: str | None = None
    version: str = ""
    words: str = ""


def find_first_weights(init_from: str | None, workdir: str) -> FirstWeights:
    """Looks up `model.init_from` for a run.

    Args:
      init_from: The setting; None for fresh weights.
      workdir: Folder (any URI) of the run, whose model in production "production" is.

    Raises:
      ConfigError: If there is no such model, it has no weights that can be read, or the file cannot be read.
    """
    if not init_from:
        return FirstWeights()
    try:
        found = _in_production(workdir) if init_from == PRODUCTION else locate_weights(init_from)
        return found._replace(version=files.content_version(found.path))
    except files.FileError as error:
        raise ConfigError(f"model.init_from is {init_from}, which cannot be read: {error.reason}") from error


def with_network(recipe: Recipe, workdir: str) -> Recipe:
    """The recipe with the network of its first weights, where `model.network` asks for that.

    Raises:
      ConfigError: If there are no weights, they cannot be read, or the recipe's clips do not fit their patches.
    """
    config = recipe.model
    if config.network == "stated":
        return recipe
    if not config.init_from:
        raise ConfigError(
            "the recipe takes its network from pretrained weights: set model.init_from, e.g. "
            "--set model.init_from=dinov2s.safetensors (README, recipes)"
        )
    try:
        with files.local_copy(find_first_weights(config.init_from, workdir).path) as path:
            source = read_weights(path)
            own = isinstance(source, OwnCheckpoint)
            fields = dict(vars(source.network)) if own else network_of(source)
            if config.classifier == "attentive" and not own:
                # It is new with its head, whatever the weights had before theirs.
                fields.pop("classifier", None)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"model.init_from is {config.init_from}, which gives no network: {error}") from error
    whole = dataclasses.replace(config, network="stated", **{**fields, "patch_dropout": 0.0})
    dropped = config.patch_dropout if whole.can_drop_patches else 0.0
    return dataclasses.replace(recipe, model=dataclasses.replace(whole, patch_dropout=dropped))


def locate_weights(path: str) -> FirstWeights:
    """The weights that a path names, without the version of their content.

    Args:
      path: A checkpoint file or folder; a SavedModel of ours; a folder of numbered versions, of which the one in
        production is taken; or the workdir of a run, of which the candidate that was evaluated last is taken.

    Raises:
      ConfigError: If a model of ours has no file of its weights, or a run has no model.
      FileError: If the path cannot be read.
    """
    if not files.is_folder(path):
        return FirstWeights(path, words=path)
    if files.exists(os.path.join(path, SAVED_MODEL)):
        return _of_model(path, f"the model {path}")
    if not files.is_tensorflows(path):
        return FirstWeights(path, words=path)
    if version := _served(path):
        return _of_model(version.path, f"version {version.version} in {path}")
    if found := candidates(path):
        return _of_candidate(found[-1], path)
    if version := _served(pushed_folder(path)):
        return _of_model(version.path, f"version {version.version} of {path}, which is in production there")
    if files.is_folder(os.path.join(path, "pipeline")):
        raise ConfigError(f"{path} is the workdir of a run that has no model yet: let it finish first")
    return FirstWeights(path, words=path)


def _in_production(workdir: str) -> FirstWeights:
    version = _served(pushed_folder(workdir))
    if not version:
        raise ConfigError(
            f"model.init_from is {PRODUCTION}, but nothing is in production in {workdir}: run once without it, or name "
            "a file, a version or another run"
        )
    return _of_model(version.path, f"version {version.version} of this workdir, which is in production")


def _served(pushed: str) -> PushedModel | None:
    """The version in production; its first copy where a rollback made another, for the content is the same."""
    models = standing(pushed)
    served = production(models)
    return next((model for model in models if model.digest == served.digest), None) if served else None


def _of_candidate(candidate: Candidate, workdir: str) -> FirstWeights:
    words = f"candidate {candidate.id} of {workdir}, which was evaluated last ({candidate.made})"
    return _of_model(candidate.model_uri, words)


def _of_model(model_dir: str, words: str) -> FirstWeights:
    path = os.path.join(model_dir, WEIGHTS)
    if files.exists(path):
        return FirstWeights(path, words=words)
    if not files.exists(os.path.join(model_dir, SAVED_MODEL)):
        raise ConfigError(f"{words}: its SavedModel is not at {model_dir} any more")
    raise ConfigError(
        f"{words} has no {WEIGHTS}: an older release exported it. Train it again with this release; where it was made "
        "of a checkpoint, run `vivit convert` on that checkpoint again, or start from the checkpoint itself"
    )
