"""What each ``vivit`` command does. A command takes its arguments and `say`; it returns an exit status or None for 0.

TensorFlow and TFX are imported inside the commands, when the terminal is quiet.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import shlex
from collections.abc import Callable, Sequence

from pipeline.console import Console, typed_command

Say = Callable[[str], None]

# Names that are shown of a long list.
_MANY = 12
_LOADING = "Loading TensorFlow and TFX …"


def demo(arguments: argparse.Namespace, say: Say) -> None:
    """Makes the demo's videos and runs the pipeline on them."""
    arguments.data = _demo_videos(arguments.workdir, say)
    run(arguments, say)


def run(arguments: argparse.Namespace, say: Say) -> None:
    """Runs the pipeline on someone's videos."""
    say(_LOADING)
    from pipeline.run import run as run_recipe

    run_recipe(
        arguments.data,
        arguments.workdir,
        recipe=arguments.recipe,
        overrides=arguments.overrides,
        beam=arguments.beam,
        say=say,
    )


def prepare(arguments: argparse.Namespace, say: Say) -> None:
    """Checks a manifest and writes what a compiled pipeline reads."""
    say(_LOADING)
    from pipeline import config, data

    recipe = config.load_recipe(arguments.recipe, arguments.overrides)
    prepared, manifest = data.prepare(arguments.data, arguments.workdir, recipe)
    say(f"{len(manifest.clips)} clips, heads {', '.join(prepared.heads)}: {prepared.manifest_dir}")
    say(f"schema: {prepared.schema_file}")


def manifest(arguments: argparse.Namespace, say: Say) -> None:
    """Makes a manifest from a public set's annotations and a folder of videos."""
    say("Loading TensorFlow …")
    from components.importers.importing import import_data_set

    imported = import_data_set(
        arguments.format, arguments.annotations, videos=arguments.videos, output=arguments.output
    )
    splits = ", ".join(f"{len(imported.manifest.split(split))} {split}" for split in ("train", "eval", "test"))
    say(f"{arguments.output}: {len(imported.manifest.clips)} clips ({splits})")
    for head, names in imported.classes.items():
        say(f"  {head}: {len(names)} classes ({_first(names)}), in {arguments.output}.classes.txt")
    for reason, clips in imported.left_out.items():
        say(f"  left out, {reason}: {len(clips)} ({_first(clips)}), in {arguments.output}.missing.txt")
    for note in imported.notes:
        say(f"  {note}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_MANY]) + (", …" if len(names) > _MANY else "")


def check(arguments: argparse.Namespace, say: Console) -> int:
    """Checks videos as ingest would.

    0 if all is good; 1 if a video is bad, a folder cannot be listed, or `vivit run` would refuse the manifest; 2 if it
    cannot be checked to its end, or what was asked for not be written; 130 if it is stopped. What was found until then
    is told.
    """
    say("Loading TensorFlow …")
    from components.files import FileError
    from components.table import ManifestError
    from pipeline import check as checking
    from pipeline.check_page import check_page, check_table
    from pipeline.config import load_recipe
    from schemas.config import ConfigError

    outputs = [(arguments.csv, lambda report: checking.as_csv(report.clips)), (arguments.html, check_page)]
    outputs = [(path, as_text) for path, as_text in outputs if path]
    try:
        recipe = load_recipe(arguments.recipe, arguments.overrides)
        clips, skipped = checking.clips_to_check(arguments.path)
        checking.prepare_outputs([path for path, _ in outputs], arguments.path, clips)
        manifest, problems = checking.data_set(arguments.path, heads=recipe.data.heads, slices=recipe.data.slices)
    except (ConfigError, ManifestError, OSError, checking.OutputError) as error:
        say(f"vivit: {error}")
        return 2
    filmstrips = checking.filmstrips_per_class(clips) if arguments.html else 0
    results = checking.check(clips, recipe.ingest, workers=arguments.workers, filmstrips=filmstrips)
    checked, failure, interrupted = [], None, False
    try:
        for found in say.track(results, len(clips), "Checking", lambda found: found.is_bad):
            checked.append(found)
    except KeyboardInterrupt:
        interrupted = True
    except FileError as error:
        # A remote file system does not answer: no video is to blame, and what was found is not lost.
        failure = error
    whole = len(checked) == len(clips)
    report = checking.Report(
        source=arguments.path,
        settings=checking.settings_in_words(arguments.recipe, recipe.ingest),
        clips=checked,
        total=len(clips),
        problems=problems,
        skipped=skipped,
        losses=checking.losses(manifest, checked, recipe.ingest.max_bad_fraction) if manifest and whole else "",
    )
    say(check_table(report))
    try:
        for path, as_text in outputs:
            checking.write_text(path, as_text(report))
    except checking.OutputError as error:
        failure = failure or error
    if failure:
        say(f"vivit: {failure}")
    if interrupted:
        # A thread would wait for its video, up to ingest.max_seconds. The decoders end with this process.
        os._exit(130)
    return 2 if failure else int(bool(report.bad or problems or skipped))


def ablate(arguments: argparse.Namespace, say: Say) -> None:
    """Trains a recipe without regularisation and with more and more of it; writes the accuracies as a table."""
    data = arguments.data or _demo_videos(arguments.workdir, say)
    say(_LOADING)
    from pipeline.ablation import ablate as train_variants
    from pipeline.ablation import as_table, variants
    from pipeline.config import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    rows = train_variants(data, arguments.workdir, variants(recipe), say)
    table = as_table(rows, str(recipe.views))
    figures = {"recipe": dataclasses.asdict(recipe), "rows": [dataclasses.asdict(row) for row in rows]}
    for name, text in (("ablation.md", table + "\n"), ("ablation.json", json.dumps(figures, indent=1))):
        with open(os.path.join(arguments.workdir, name), "w", encoding="utf-8") as file:
            file.write(text)
    say("\n" + table)


def predict(arguments: argparse.Namespace, say: Say) -> int:
    """Names the class of each video; 1 if one cannot be decoded."""
    from pipeline.predict import predict as predictions

    status = 0
    for prediction in predictions(arguments.model, arguments.videos):
        status = 1 if prediction.error else status
        say(json.dumps(prediction.as_json(), ensure_ascii=False) if arguments.json else prediction.in_words())
    return status


def recipes(_: argparse.Namespace, say: Say) -> None:
    """Lists the recipes."""
    from pipeline.catalogue import catalogue

    for line in catalogue():
        say(line)


def convert(arguments: argparse.Namespace, say: Say) -> None:
    """Turns a checkpoint into our weights and a SavedModel."""
    say("Loading TensorFlow …")
    from models.convert import convert as convert_checkpoint
    from models.convert import read_class_names
    from pipeline.config import heads_of, load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    heads = heads_of(recipe)
    report = convert_checkpoint(
        arguments.source,
        arguments.output,
        config=recipe.model,
        clip=recipe.clip,
        views=recipe.views,
        ingest=dataclasses.asdict(recipe.ingest),
        num_classes=dict(zip(heads, recipe.data.num_classes, strict=False)),
        classes=read_class_names(arguments.classes, heads) if arguments.classes else None,
    )
    say(str(report))
    say(f"Try it:\n  {typed_command()} predict --model {shlex.quote(arguments.output)} VIDEO")


def parity(arguments: argparse.Namespace, say: Say) -> int:
    """Holds ours against numbers of the reference; 1 if a case fails or is not run."""
    say("Loading TensorFlow …")
    from models.parity import KINDS, check_folder
    from models.parity_preprocessing import check_preprocessing_case
    from models.parity_training import check_train_case

    kinds = {**KINDS, "preprocessing": check_preprocessing_case, "train": check_train_case}
    counts = collections.Counter()
    for row in check_folder(arguments.folder, kinds):
        counts[row.verdict] += 1
        figures = row.reason if row.error is None else f"{row.error:8.1e} of {row.tolerance:.0e}"
        say(f"{row.verdict:8s} {row.kind:14s} {row.case:34s} {row.compared:40s} {figures}")
    say(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return int(set(counts) != {"pass"})


def bench_model(arguments: argparse.Namespace, say: Say) -> None:
    """Times a network against stock Keras layers."""
    from pipeline.bench_model import bench_model as bench
    from pipeline.bench_model import describe
    from pipeline.config import heads_of, load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    heads = heads_of(recipe)
    classes = dict(zip(heads, recipe.data.num_classes or [10] * len(heads), strict=True))
    result = bench(
        recipe.model, clip_shape=recipe.clip.shape, heads=classes, batch=arguments.batch, mode=arguments.mode
    )
    say(json.dumps(result) if arguments.json else describe(result))


def bench_input(arguments: argparse.Namespace, say: Say) -> None:
    """Times the training input against bare JPEG decoding."""
    import tempfile
    from pathlib import Path

    from models.bench_input import bench_input as bench
    from models.bench_input import write_bench_clips
    from pipeline.config import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    with tempfile.TemporaryDirectory() as folder:
        # Long enough for no frame to be shown twice, which would be decoded once.
        source = write_bench_clips(Path(folder), frames=recipe.clip.num_frames * recipe.clip.stride)
        rates = bench(source, clip=recipe.clip, augmentation=recipe.augment, batch_size=arguments.batch)
    if arguments.json:
        say(json.dumps(dataclasses.asdict(rates)))
        return
    say(f"pipeline {rates.pipeline:.1f} clips/s, bare JPEG decode {rates.decode:.1f} clips/s on {rates.cores} cores:")
    say(f"share {rates.share:.2f}; memory grew by {rates.memory_growth:.1%} over {rates.clips} clips")
    say(f"augmentation on the device: {rates.augment:.1f} clips/s")


def bench_train(arguments: argparse.Namespace, say: Say) -> None:
    """Times the training loop against its compiled step alone."""
    import tempfile
    from pathlib import Path

    from models.bench_input import write_bench_clips
    from models.bench_train import bench_train as bench
    from pipeline.config import load_recipe
    from schemas.features import DEFAULT_HEAD

    overrides = [*arguments.overrides, f"train.batch_size={arguments.batch}"]
    recipe = load_recipe(arguments.recipe, overrides)
    config = dataclasses.replace(recipe.trainer_config((DEFAULT_HEAD,)), storage="jpeg")
    side = recipe.ingest.short_side
    with tempfile.TemporaryDirectory() as folder:
        rates = bench(config, write_bench_clips(Path(folder), size=(side, side * 4 // 3)))
    if arguments.json:
        say(json.dumps(dataclasses.asdict(rates)))
        return
    say(
        f"training loop {rates.clips_per_second:.1f} clips/s ({rates.steps_per_second:.2f} steps/s), "
        f"compiled step alone {rates.bare_clips_per_second:.1f} clips/s:"
    )
    say(f"share {rates.share:.2f}; {rates.input_wait:.0%} of the time waiting for input")


def _demo_videos(workdir: str, say: Say) -> str:
    """Makes the demo's videos below the workdir; gives the path of their manifest."""
    from pipeline.demo_data import write_demo_data

    say("Making the demo's videos …")
    return str(write_demo_data(os.path.join(workdir, "videos")))


def bench_ingest(arguments: argparse.Namespace, say: Say) -> None:
    """Times ingest against the bare loop: decode, resize, encode."""
    from pipeline.bench_ingest import bench_ingest as bench
    from pipeline.bench_ingest import describe
    from pipeline.config import load_recipe

    config = load_recipe(arguments.recipe, arguments.overrides).ingest
    result = bench(config, clips=arguments.clips, workers=arguments.workers)
    say(json.dumps(result) if arguments.json else describe(result))


def bench_segments(arguments: argparse.Namespace, say: Say) -> None:
    """Times many segments of one long video against one decode of it."""
    from pipeline.bench_segments import bench_segments as bench
    from pipeline.config import load_recipe

    config = load_recipe(arguments.recipe, arguments.overrides).ingest
    rates = bench(config, minutes=arguments.minutes, segments=arguments.segments)
    if arguments.json:
        say(json.dumps({**dataclasses.asdict(rates), "ratio": rates.ratio}))
        return
    cost = (
        f"{rates.segment_seconds:.1f} s, one bare decode of it {rates.decode_seconds:.1f} s: {rates.ratio:.2f} decodes"
    )
    say(f"{rates.segments} segments of 1 to 5 s of a video of {rates.minutes} minutes: {cost}")
