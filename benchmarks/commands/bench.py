"""``vivit bench``: speed and memory, each against a bare loop in the same run."""

from __future__ import annotations

import argparse
import dataclasses
import json

from pipeline.commands.arguments import Echo, add_recipe_arguments, count
from pipeline.commands.serving.request import add_server_arguments, client_of

HELP = "measure speed and memory"
TIMELINE = "a long video's timeline, against one decode of it and the network's passes"
# Of the probe.
VIT_S = {"tubelet": "1,14,14", "hidden_size": 384, "num_heads": 6, "mlp_dim": 1536}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one subcommand per measurement."""
    subparsers = parser.add_subparsers(required=True, metavar="WHAT")

    def add(name: str, text: str, function, recipe: str) -> argparse.ArgumentParser:
        subparser = subparsers.add_parser(name, help=text, description=text)
        subparser.add_argument("--json", action="store_true")
        subparser.set_defaults(bench=function)
        add_recipe_arguments(subparser, default=recipe)
        return subparser

    model = add("model", "a network against stock Keras layers", bench_model, "small")
    model.add_argument("--mode", choices=("forward", "train"), default="train")
    data = add("input", "the training input against bare JPEG decoding", bench_input, "kinetics400_b_fe")
    train = add("train", "the training loop against its compiled step alone", bench_train, "small")
    for subparser in (model, data, train):
        subparser.add_argument("--batch", type=count, default=4, help="clips per step (default: 4)")
    score = add("score", "the evaluation's scoring against the network alone", bench_score, "small")
    score.add_argument("--clips", type=count, default=150, help="clips of 10 s of a turn (default: 150)")
    predict = add("predict", "predicting many videos, against decoding and the network alone", bench_predict, "small")
    predict.add_argument("--videos", type=count, default=300, help="videos of 10 s of a turn (default: 300)")
    text = "videos to examples, against the bare loop that decodes and encodes"
    ingest = add("ingest", text, bench_ingest, "kinetics400_b_fe")
    ingest.add_argument("--clips", type=count, default=300, help="clips of 10 s 340x256 of a turn (default: 300)")
    ingest.add_argument("--workers", type=count, default=2, help="parallel decoders (default: 2)")
    segments = add("segments", "segments of a long video, against one decode of it", bench_segments, "kinetics400_b_fe")
    segments.add_argument("--minutes", type=count, default=30, help="length of the video (default: 30)")
    segments.add_argument("--segments", type=count, default=200, help="how many (default: 200)")
    memory = add("memory", "the memory of a training step, counted in its graph", bench_memory, "kinetics400_b")
    timeline = subparsers.add_parser("timeline", help=TIMELINE, description=TIMELINE)
    timeline.add_argument("--json", action="store_true")
    timeline.add_argument("--model", required=True, help="a model of the recipe demo")
    timeline.add_argument("--hours", type=float, default=3.0, help="length of the video (default: 3)")
    timeline.set_defaults(bench=bench_timeline)
    text = "copies that `vivit duplicates` finds, and that perceptual hashes find"
    duplicates = subparsers.add_parser("duplicates", help=text, description=text)
    duplicates.add_argument("--json", action="store_true")
    duplicates.add_argument("--model", required=True, help="a model of the recipe demo")
    duplicates.set_defaults(bench=bench_duplicates)
    text = "also run the step with the recipe's own settings on this machine's CPU, and measure"
    memory.add_argument("--measure", action="store_true", help=text)
    probe = add("probe", "a probe's grid of heads, against the backbone's pass over its clips", bench_probe, "probe")
    probe.add_argument("--clips", type=count, default=60, help="how many (default: 60)")
    text = "a model server, as a client sees it"
    serve = subparsers.add_parser("serve", help=text, description=text)
    serve.set_defaults(bench=bench_serve)
    add_server_arguments(serve)
    serve.add_argument("--requests", type=count, default=200, help="how many (default: 200)")
    serve.add_argument("--at-a-time", type=count, default=8, help="how many at a time (default: 8)")
    serve.add_argument("--json", action="store_true")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Measures."""
    arguments.bench(arguments, echo)


def bench_model(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times a network against stock Keras layers."""
    from benchmarks.model import bench_model as bench
    from benchmarks.model import describe
    from pipeline.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    result = bench(
        recipe.model,
        clip_shape=recipe.clip.shape,
        heads=_classes(recipe),
        batch=arguments.batch,
        mode=arguments.mode,
    )
    echo(json.dumps(result) if arguments.json else describe(result))


def bench_input(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times the training input against bare JPEG decoding."""
    import tempfile
    from pathlib import Path

    from benchmarks.input import bench_input as bench
    from benchmarks.input import write_bench_clips
    from pipeline.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    with tempfile.TemporaryDirectory() as folder:
        # Long enough that no frame is repeated: a repeated frame is decoded once.
        source = write_bench_clips(Path(folder), frames=recipe.clip.num_frames * recipe.clip.stride)
        rates = bench(source, clip=recipe.clip, augmentation=recipe.augment, batch_size=arguments.batch)
    if arguments.json:
        echo(json.dumps(dataclasses.asdict(rates)))
        return
    echo(f"pipeline {rates.pipeline:.1f} clips/s, bare JPEG decode {rates.decode:.1f} clips/s on {rates.cores} cores:")
    echo(f"share {rates.share:.2f}; memory grew by {rates.memory_growth:.1%} over {rates.clips} clips")
    echo(f"augmentation on the device: {rates.augment:.1f} clips/s")


def bench_train(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times the training loop against its compiled step alone."""
    import tempfile
    from pathlib import Path

    from benchmarks.input import write_bench_clips
    from benchmarks.train import bench_train as bench
    from pipeline.recipe import load_recipe
    from schemas.features import DEFAULT_HEAD

    overrides = [*arguments.overrides, f"train.batch_size={arguments.batch}"]
    recipe = load_recipe(arguments.recipe, overrides)
    config = dataclasses.replace(recipe.weights_config((DEFAULT_HEAD,)), storage="jpeg")
    side = recipe.ingest.short_side
    with tempfile.TemporaryDirectory() as folder:
        source = write_bench_clips(Path(folder), size=(side, side * 4 // 3))
        rates = bench(config, source, remat=recipe.train.remat)
    if arguments.json:
        echo(json.dumps(dataclasses.asdict(rates)))
        return
    echo(
        f"training loop {rates.clips_per_second:.1f} clips/s ({rates.steps_per_second:.2f} steps/s), "
        f"compiled step alone {rates.bare_clips_per_second:.1f} clips/s:"
    )
    echo(f"share {rates.share:.2f}; {rates.input_wait:.0%} of the time waiting for input")
    if rates.share_of_peak is not None:
        echo(f"{rates.share_of_peak:.0%} of the device's peak")
    if rates.memory_gb is not None:
        echo(f"memory: {rates.memory_gb:.1f} GB at most")


def bench_score(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times scoring against the network alone."""
    import tempfile
    from pathlib import Path

    from benchmarks.score import bench_score as bench
    from pipeline.recipe import load_recipe

    with tempfile.TemporaryDirectory() as folder:
        rates = bench(load_recipe(arguments.recipe, arguments.overrides), Path(folder), clips=arguments.clips)
    if arguments.json:
        echo(json.dumps(dataclasses.asdict(rates)))
        return
    echo(f"scoring {rates.scoring:.1f} views/s, the network alone {rates.network:.1f} views/s: share {rates.share:.2f}")
    echo(f"{rates.clips} clips of {rates.views} views a turn; each turn loads the model and writes the table")


def bench_predict(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times a job that predicts many videos against decoding alone, and the network alone."""
    from benchmarks.predict import bench_predict as bench
    from pipeline.recipe import load_recipe

    rates = bench(load_recipe(arguments.recipe, arguments.overrides), videos=arguments.videos)
    if arguments.json:
        echo(json.dumps(dataclasses.asdict(rates)))
        return
    alone = f"decoding alone {rates.decode:.2f}, the network alone {rates.network:.2f}"
    echo(f"{rates.job:.2f} videos/s; {alone}: share of the slower {rates.share:.2f}")
    memory = f"{rates.memory_mib:.0f} MiB at most, {rates.memory_growth:.2f}x that of a tenth of the videos"
    echo(f"{rates.videos} videos of 10 s, {rates.views} views each; {memory}")


def bench_ingest(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times ingest against the bare loop: decode, resize, encode."""
    from benchmarks.ingest import bench_ingest as bench
    from benchmarks.ingest import describe
    from pipeline.recipe import load_recipe

    config = load_recipe(arguments.recipe, arguments.overrides).ingest
    result = bench(config, clips=arguments.clips, workers=arguments.workers)
    echo(json.dumps(result) if arguments.json else describe(result))


def bench_segments(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times many segments of one long video against one decode of it."""
    from benchmarks.long_videos.segments import bench_segments as bench
    from pipeline.recipe import load_recipe

    config = load_recipe(arguments.recipe, arguments.overrides).ingest
    rates = bench(config, minutes=arguments.minutes, segments=arguments.segments)
    if arguments.json:
        echo(json.dumps({**dataclasses.asdict(rates), "ratio": rates.ratio}))
        return
    cost = (
        f"{rates.segment_seconds:.1f} s, one bare decode of it {rates.decode_seconds:.1f} s: {rates.ratio:.2f} decodes"
    )
    echo(f"{rates.segments} segments of 1 to 5 s of a video of {rates.minutes} minutes: {cost}")


def bench_timeline(arguments: argparse.Namespace, echo: Echo) -> None:
    """Measures `vivit timeline` on a long video."""
    from benchmarks.long_videos.timeline import bench_timeline as bench
    from benchmarks.long_videos.timeline import describe

    costs = bench(arguments.model, hours=arguments.hours)
    echo(json.dumps({**dataclasses.asdict(costs), "ratio": costs.ratio}) if arguments.json else describe(costs))


def bench_duplicates(arguments: argparse.Namespace, echo: Echo) -> None:
    """Counts which changed copies are found."""
    from benchmarks.duplicates import bench_duplicates as bench
    from benchmarks.duplicates import describe
    from pipeline.commands.inference.duplicates import LEAST

    found = bench(arguments.model, least=LEAST)
    echo(json.dumps([dataclasses.asdict(one) for one in found]) if arguments.json else describe(*found))


def bench_probe(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times a probe's heads, linear and attentive, against the backbone's pass."""
    from benchmarks.probe import bench_probe as bench
    from benchmarks.probe import describe
    from pipeline.recipe import load_recipe

    # ViT-S/14, where nothing else is said.
    overrides = ["model.network=stated", *(f"model.{name}={value}" for name, value in VIT_S.items())]
    recipe = load_recipe(arguments.recipe, [*overrides, *arguments.overrides])
    times = bench(recipe.weights_config(("label",)), clips=arguments.clips)
    echo(json.dumps({**dataclasses.asdict(times), **times.ratios}) if arguments.json else describe(times))


def bench_memory(arguments: argparse.Namespace, echo: Echo) -> None:
    """Counts what a training step needs of memory, in both dtypes, with and without rematerialisation."""
    from benchmarks.memory import GB, count_memory, describe, measure_memory
    from pipeline.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    step = {"clip_shape": recipe.clip.shape, "heads": _classes(recipe), "optimizer": recipe.train.optimizer}
    counted = {
        dtype: count_memory(dataclasses.replace(recipe.model, dtype=dtype), **step) for dtype in ("float32", "bfloat16")
    }
    measured = measure_memory(recipe.model, **step, remat=recipe.train.remat) if arguments.measure else None
    if arguments.json:
        as_dict = {
            dtype: {remat: dataclasses.asdict(one) for remat, one in by_remat.items()}
            for dtype, by_remat in counted.items()
        }
        echo(json.dumps({**as_dict, "measured": dataclasses.asdict(measured) if measured else None}))
        return
    echo(describe(counted, recipe.clip.shape))
    if measured:
        echo(
            f"measured with {recipe.model.dtype}, remat={recipe.train.remat}: one clip takes {measured.peak / GB:.2f} "
            f"GB at most besides weights and optimizer, and {measured.seconds:.0f} s"
        )


def bench_serve(arguments: argparse.Namespace, echo: Echo) -> None:
    """Times the answers of a server."""
    from benchmarks.serve import bench_server
    from pipeline.inference.model import decode_config

    with client_of(arguments) as client:
        times = bench_server(
            client, decode_config(arguments.model), requests=arguments.requests, at_a_time=arguments.at_a_time
        )
    if arguments.json:
        echo(json.dumps(dataclasses.asdict(times)))
        return
    echo(
        f"{times.requests} requests of {times.megabytes:.1f} MB, {arguments.at_a_time} at a time, {times.failed} of "
        f"them failed: p50 {times.p50:.3f} s, p95 {times.p95:.3f} s, {times.per_second:.1f} a second"
    )


def _classes(recipe) -> dict[str, int]:
    """Classes by head; ten where the data set decides."""
    from pipeline.recipe import heads_of

    heads = heads_of(recipe)
    return dict(zip(heads, recipe.data.num_classes or [10] * len(heads), strict=True))
