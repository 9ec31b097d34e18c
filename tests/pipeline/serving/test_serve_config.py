"""`vivit serve-config` as an operator types it: its files are read back by TensorFlow Serving's own protos."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from components.registry.push import alone, place
from components.registry.records import Version
from components.registry.versions import standing
from models.clips.sampling import ClipConfig
from pipeline.cli import main
from pipeline.recipe import load_recipe
from pipeline.serving.memory import view_bytes
from pipeline.serving.server_config import compose_file
from schemas.serving import ModelCard
from tests.components.registry.runs import put, write_candidates


@pytest.fixture
def run(tmp_path):
    """A workdir with three versions."""
    for record in write_candidates(tmp_path, "a", "b", "c"):
        put(tmp_path, record)
    return tmp_path


@pytest.fixture
def serve(capfd, run, tmp_path):
    """Runs the command; returns what it prints, and the model in the config."""

    def command(*arguments, status=0):
        capfd.readouterr()
        output = tmp_path / "server"
        assert main(["serve-config", "--workdir", str(run), "--output", str(output), *arguments]) == status
        printed = capfd.readouterr().out
        return printed, model_of((output / "models.config").read_text()) if status == 0 else None

    return command


def model_of(text):
    (model,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    return model


def batching_parameters():
    """tensorflow.serving.BatchingParameters, which tensorflow-serving-api leaves out."""
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message, field = file.message_type.add(name="BatchingParameters"), descriptor_pb2.FieldDescriptorProto
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    for number, name in enumerate(names, start=1):
        wrapper = {"type": field.TYPE_MESSAGE, "type_name": ".google.protobuf.Int64Value"}
        message.field.add(name=name, number=number, label=field.LABEL_OPTIONAL, **wrapper)
    message.field.add(name="allowed_batch_sizes", number=6, label=field.LABEL_REPEATED, type=field.TYPE_INT64)
    message.field.add(name="pad_variable_length_inputs", number=7, label=field.LABEL_OPTIONAL, type=field.TYPE_BOOL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("test.BatchingParameters")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)()
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)()


def test_the_version_in_production_has_both_labels(run, serve):
    newest = standing(str(run / "pushed"))[-1].version
    printed, model = serve("--name", "motion")
    assert (model.name, model.base_path, model.model_platform) == ("motion", "/models/motion", "tensorflow")
    assert list(model.model_version_policy.specific.versions) == [int(newest)]
    assert model.version_labels == {"stable": int(newest), "canary": int(newest)}
    assert f"stable {newest}, canary {newest}" in printed


def test_a_canary_runs_beside_stable_until_it_is_promoted(run, serve):
    older, newest = (int(model.version) for model in standing(str(run / "pushed"))[-2:])
    _, model = serve("--stable", str(older))
    assert list(model.model_version_policy.specific.versions) == [older, newest]
    assert model.version_labels == {"stable": older, "canary": newest}
    # The label can move only if the version that it leaves stays, and goes in the end.
    _, model = serve()
    assert list(model.model_version_policy.specific.versions) == [older, newest]
    assert model.version_labels == {"stable": newest, "canary": newest}
    _, model = serve()
    assert list(model.model_version_policy.specific.versions) == [newest]


def test_what_was_rolled_back_is_served_no_more(run, serve):
    first, *_, last = (model.version for model in standing(str(run / "pushed")))
    pushed, back = str(run / "pushed"), standing(str(run / "pushed"))[0]
    with alone(pushed):
        record = Version(version="", digest=back.digest, pushed="", how="rollback", rollback_of=first)
        copy = place(back.path, pushed, record).version
    _, model = serve()
    assert model.version_labels == {"stable": int(copy), "canary": int(copy)}
    printed, _ = serve("--stable", last, status=1)
    assert f"no version {last} that was not rolled back; there is {first}, {copy}" in printed


def test_batches_are_as_many_as_the_memory_holds(run, serve, tmp_path):
    recipe = load_recipe("kinetics400_b")
    weights = {"model": dataclasses.asdict(recipe.model), "clip": dataclasses.asdict(recipe.clip)}
    card = ModelCard({"label": ["jump"]}, (4, 3), {}, {"weights": weights, "views": {"per_step": 4}})
    card.write(standing(str(run / "pushed"))[-1].path)
    threads = {}
    for memory in ("16", "32", "1000"):
        serve("--memory-gb", memory)
        parameters = text_format.Parse((tmp_path / "server/batching.config").read_text(), batching_parameters())
        threads[memory] = parameters.num_batch_threads.value
    assert 1 <= threads["16"] < threads["32"] <= threads["1000"] == 8
    assert list(parameters.allowed_batch_sizes) == [1, parameters.max_batch_size.value]
    assert parameters.pad_variable_length_inputs
    assert parameters.max_enqueued_batches.value
    printed, _ = serve("--memory-gb", "3", status=1)
    assert "--memory-gb 3 is too little: 2 versions and one batch need " in printed


@pytest.mark.parametrize(("recipe", "measured"), [("kinetics400_b", 0.56), ("kinetics400_b_fe", 0.11)])
def test_a_views_memory_is_what_was_measured_on_a_cpu(recipe, measured):
    model = dataclasses.asdict(load_recipe(recipe).model)
    assert view_bytes(model, ClipConfig()) / 1e9 == pytest.approx(measured, rel=0.1)


def test_the_compose_file_starts_what_was_written(run, serve, tmp_path):
    serve()
    compose = yaml.safe_load((tmp_path / "server" / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    assert service["image"].startswith("tensorflow/serving:2.")
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in service["command"])
    folder = next(volume.split(":")[1] for volume in service["volumes"] if volume.startswith(".:"))
    for flag in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (tmp_path / "server" / flags[flag].removeprefix(f"{folder}/")).is_file()
    assert f"{run}/pushed:/models/vivit:ro" in service["volumes"]
    assert int(flags["model_config_file_poll_wait_seconds"]) > 0


def test_versions_that_the_server_finds_at_a_uri_need_no_volume():
    text = compose_file(base_path="gs://bucket/run/pushed", pushed="./pushed", memory_gb=8, image="any")
    assert yaml.safe_load(text)["services"]["vivit"]["volumes"] == [".:/config:ro"]


def test_no_run_and_no_version_are_said(serve, run, tmp_path):
    printed, _ = serve("--workdir", str(tmp_path / "gone"), status=1)
    assert f"--workdir {tmp_path / 'gone'}: no such folder" in printed
    (tmp_path / "empty").mkdir()
    printed, _ = serve("--workdir", str(tmp_path / "empty"), status=1)
    assert "no version is pushed" in printed
    serve()
    (tmp_path / "server" / "models.config").write_text("{")
    printed, _ = serve(status=1)
    assert "models.config is no model config of TensorFlow Serving" in printed


def test_a_run_in_a_bucket_is_served(run, capfd):
    for model in standing(str(run / "pushed")):
        for file in ("saved_model.pb", "assets.extra/version.json", "assets.extra/vivit.json"):
            target = f"ram://bucket/run/pushed/{model.version}/{file}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(f"{model.path}/{file}", target, overwrite=True)
    assert main(["serve-config", "--workdir", "ram://bucket/run", "--output", "ram://bucket/server"]) == 0
    with tf.io.gfile.GFile("ram://bucket/server/models.config") as file:
        assert model_of(file.read()).version_labels["stable"] == int(model.version)
    assert "Copy ram://bucket/run/pushed to `pushed`" in capfd.readouterr().out
