"""The whole pipeline on real video files, on the real BeamDagRunner."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from components.gates.smaller_models import read_forms
from pipeline.report import overall_metrics
from schemas import serving
from tests.conftest import ONE_LABEL, TWO_HEADS, UNGATED, UNTRAINED, run_pipeline

pytestmark = pytest.mark.end_to_end


def test_a_folder_of_classes_becomes_a_pushed_model(colours_run):
    metrics = overall_metrics(colours_run.results["Evaluator"].outputs["evaluation"][0])
    assert metrics["label"]["top_1"] >= 0.9
    (version,) = colours_run.pushed
    assert (version / "saved_model.pb").exists()


def test_the_summary_lists_clips_classes_views_blessing_and_what_to_try(colours_run):
    for text in (
        "\nPlan\n  clips     72 (",
        "72 in (",
        "72 out, 0 dropped",
        "label: 3 (blue, green, red)",
        "(2x3 views; ",
        "(1x1)",
        "BLESSED",
        "serves: 4 clips through 6 signatures",
        str(colours_run.pushed[0]),
        "vivit predict --model",
    ):
        assert text in colours_run.text, text


def test_two_heads_are_trained_scored_and_named(two_heads_run):
    metrics = overall_metrics(two_heads_run.results["Evaluator"].outputs["evaluation"][0])
    scored = ("verb", "noun", "action")
    assert {*scored, *(f"{name}_centre_view" for name in scored)} == set(metrics)
    assert all(output["example_count"] == 16 for output in metrics.values())
    assert "verb: 8 (" in two_heads_run.text
    assert "noun: 10 (" in two_heads_run.text
    assert "action: top-1 " in two_heads_run.text


def test_metrics_are_sliced_by_class_and_by_column(two_heads_run):
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(two_heads_run.artifact("Evaluator", "evaluation"))
    sliced_by = {key[0][0] for key, _ in result.slicing_metrics if key}
    assert {"label/verb", "label/noun", "slice/background"} <= sliced_by
    assert all("top_1" in outputs["action"][""] for _, outputs in result.slicing_metrics)
    (plots,) = [plots for key, plots in result.plots if key == ()]
    assert "multiClassConfusionMatrixAtThresholds" in plots["verb"][""]


def test_a_second_run_recomputes_nothing_and_pushes_nothing(two_heads_run):
    pushed = two_heads_run.pushed
    again = run_pipeline(two_heads_run.data, two_heads_run.workdir, *UNGATED, *TWO_HEADS)
    assert not [node for node, result in again.results.items() if not result.cached]
    assert two_heads_run.pushed == pushed
    assert "15 unchanged from cache" in again.text


def test_what_changes_no_byte_and_no_weight_decodes_nothing_and_trains_nothing(two_heads_run):
    settings = ("ingest.max_bad_fraction=0.5", "train.eval_epochs=50", "train.checkpoint_steps=3")
    again = run_pipeline(two_heads_run.data, two_heads_run.workdir, *UNGATED, *TWO_HEADS, *settings)
    ran = {node for node, result in again.results.items() if not result.cached}
    # The page shows every setting.
    assert ran == {"QuarantineGate", "Review"}


def test_smaller_forms_are_made_of_the_model_that_is_there_and_shown_in_its_review(two_heads_run):
    wanted = ("push.smaller=float16,tflite", "push.max_smaller_drop=1")
    again = run_pipeline(two_heads_run.data, two_heads_run.workdir, *UNGATED, *TWO_HEADS, *wanted)
    ran = {node for node, result in again.results.items() if not result.cached}
    assert {"Compressor", "Review"} <= ran <= {"Compressor", "Review", "Production", "Pusher"}
    forms = read_forms(again.artifact("Compressor", "smaller"))
    assert [form.form for form in forms] == ["float16", "tflite"]
    for form in forms:
        assert [loss.name for loss in form.losses] == ["verb", "noun", "action"]
        assert not form.problems
        assert form.size < form.full_size
        assert f"{form.form}: {form.size / form.full_size:.2f} of the size" in again.text
    assert (Path(forms[1].path) / serving.LITE_FILE).is_file()
    page = Path(again.artifact("Review", "review"), "review.html").read_text()
    assert page.count('<b class="good">✓ yes</b>') == 6


def test_other_views_are_evaluated_anew_with_the_weights_that_are_there(two_heads_run, caplog):
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        again = run_pipeline(two_heads_run.data, two_heads_run.workdir, *UNGATED, *TWO_HEADS, "views.temporal=1")
    cached = {node for node, result in again.results.items() if result.cached}
    assert {"VideoExampleGen", "Transform"} <= cached
    assert not {"Trainer", "Evaluator"} & cached
    assert "these weights are trained already: 5 steps" in caplog.text
    assert not re.search(r"step \d+/5", caplog.text)
    assert "(1x3 views; " in again.text
    before, after = (
        overall_metrics(run.results["Evaluator"].outputs["evaluation"][0])["verb_centre_view"]
        for run in (two_heads_run, again)
    )
    # After a first model, the differences from it stand beside the metrics.
    assert {name: after[name] for name in before} == pytest.approx(before)


def test_a_worse_model_is_refused_with_its_reason_and_not_pushed(colours_run):
    pushed = colours_run.pushed
    settings = (*ONE_LABEL, *UNTRAINED, "evaluation.min_top_1=0")
    worse = run_pipeline(colours_run.data, colours_run.workdir, *settings)
    assert f"NOT BLESSED, compared with version {pushed[0].name}" in worse.text
    assert re.search(r"label: top_1 changed by -\d\.\d+ \(-\S+ to \S+\) against the model in production", worse.text)
    assert re.search(r"label: top-1 \S+ \(\S+ to \S+\) is not above the share of the commonest class", worse.text)
    assert "Nothing was pushed" in worse.text
    assert colours_run.pushed == pushed
