"""A push: the served folder has the whole model or is as it was, whatever happens in between."""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tensorflow as tf

from components.registry.push import alone, place, push, reserved_number
from components.registry.records import RegistryError, Version
from components.registry.versions import content_digest, numbers, standing
from tests import processes
from tests.components.registry.runs import candidate, put, write_candidates, write_model

BIG = 400 << 20


def push_model(workdir, name, names):
    """Pushes a model in a process of its own, once those that push the others are ready too."""
    record = candidate(workdir / "models" / name)
    (workdir / f"{name}.ready").touch()
    while not all((workdir / f"{each}.ready").exists() for each in names):
        time.sleep(0.001)
    put(workdir, record)


def pushing(workdir, *names):
    """Starts `push_model` for each of some models."""
    return [processes.start(push_model, workdir, name, names, log=workdir / f"{name}.log") for name in names]


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_version_is_its_candidate_with_the_record_and_the_card_of_the_push(tmp_path):
    (record,) = write_candidates(tmp_path, "a")
    pushed = str(tmp_path / "pushed")
    with alone(pushed):
        version = push(record, pushed, model_card="# a")
    assert version == standing(pushed)[0]
    assert (version.record.how, version.record.candidate, version.digest) == ("pipeline", record, record.digest)
    added = {"assets.extra/version.json", "assets.extra/model_card.md"}
    files = tree(version.path)
    assert {name: files[name] for name in files.keys() - added} == tree(record.model_uri)
    assert files["assets.extra/model_card.md"] == b"# a"
    assert os.listdir(tmp_path / "pushing") == ["lock"]
    # A model server runs as another user.
    assert Path(version.path).stat().st_mode == (tmp_path / "models" / "a").stat().st_mode


def test_a_pushed_saved_model_loads(tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(3.0)
    module.double = tf.function(lambda: 2 * module.weight, input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.double})
    record = candidate(tmp_path / "model")
    version = put(tmp_path, record)
    served = tf.saved_model.load(str(tmp_path / "pushed" / version))
    assert served.signatures["serving_default"]()["output_0"].numpy() == 6
    assert content_digest(str(tmp_path / "pushed" / version)) == record.digest


def test_what_is_in_production_is_not_pushed_again(tmp_path):
    a, b = write_candidates(tmp_path, "a", "b")
    first = put(tmp_path, a)
    assert put(tmp_path, a) == first
    second = put(tmp_path, b)
    assert int(put(tmp_path, a)) > int(second) > int(first)


def test_a_number_is_above_all_others_even_those_of_the_future_and_of_half_a_version(tmp_path):
    (record,) = write_candidates(tmp_path, "a")
    write_model(tmp_path / "pushed" / "5000000000", b"by hand")
    (tmp_path / "pushed" / "5000000007").mkdir()
    assert put(tmp_path, record) == "5000000008"


def test_a_model_that_changed_or_went_since_its_evaluation_is_not_pushed(tmp_path):
    (record,) = write_candidates(tmp_path, "a")
    weights = tmp_path / "models" / "a" / "variables" / "variables.data"
    weights.write_bytes(b"A")
    with pytest.raises(RegistryError, match=f"{record.model_uri} changed since {record.id} was evaluated: run again"):
        put(tmp_path, record)
    (tmp_path / "models" / "a" / "saved_model.pb").unlink()
    with pytest.raises(RegistryError, match=f"is not at {record.model_uri} any more: run again"):
        put(tmp_path, record)
    assert not (tmp_path / "pushed").exists()


def test_a_crash_in_the_midst_leaves_the_served_folder_as_it_was(tmp_path):
    a, _ = write_candidates(tmp_path, "a", "b")
    put(tmp_path, a)
    before = tree(tmp_path / "pushed")
    weights = tmp_path / "models" / "b" / "variables" / "variables.data"
    os.truncate(weights, BIG)
    (process,), copies = pushing(tmp_path, "b"), []
    while not copies or not copies[0].stat().st_size:
        assert process.is_alive()
        copies = list((tmp_path / "pushing").rglob("variables.data"))
    process.kill()
    assert processes.wait(process) == -signal.SIGKILL
    # It was in the midst.
    assert 0 < copies[0].stat().st_size < BIG
    assert tree(tmp_path / "pushed") == before

    version = put(tmp_path, candidate(tmp_path / "models" / "b"))
    assert (tmp_path / "pushed" / version / "variables" / "variables.data").stat().st_size == BIG
    assert os.listdir(tmp_path / "pushing") == ["lock"]


def test_two_processes_that_push_at_once_push_two_whole_versions(tmp_path):
    for name in ("a", "b"):
        weights = write_model(tmp_path / "models" / name, name.encode()) / "variables" / "variables.data"
        os.truncate(weights, BIG // 4)
    assert [processes.wait(process) for process in pushing(tmp_path, "a", "b")] == [0, 0]
    models = standing(str(tmp_path / "pushed"))
    assert len({content_digest(str(tmp_path / "models" / name)) for name in "ab"} | {m.digest for m in models}) == 2
    assert [content_digest(model.path) for model in models] == [model.digest for model in models]


def test_while_one_pushes_others_wait(tmp_path):
    with alone(str(tmp_path / "pushed")), open(tmp_path / "pushing" / "lock") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / "pushing" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_pushes_to_an_object_store_at_once_take_two_numbers(tmp_path):
    pushed = f"ram:/{tmp_path}/run/pushed"
    with reserved_number(pushed) as one, reserved_number(pushed) as other:
        assert int(other) > int(one)


def test_an_object_store_gets_the_model_too(tmp_path):
    a, b = write_candidates(tmp_path, "a", "b")
    pushed = f"ram:/{tmp_path}/run/pushed"
    for record in (a, b, b):
        with alone(pushed):
            push(record, pushed)
    models = standing(pushed)
    assert [model.digest for model in models] == [a.digest, b.digest]
    assert [content_digest(model.path) for model in models] == [a.digest, b.digest]


def test_a_folder_on_a_disk_of_its_own_gets_the_model_too(tmp_path):
    other_disk = Path("/dev/shm")
    if not os.access(other_disk, os.W_OK) or other_disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one disk")
    (record,) = write_candidates(tmp_path, "a")
    with contextlib.ExitStack() as stack:
        volume = Path(os.path.join(other_disk, tmp_path.name + str(os.getpid())))
        volume.mkdir()
        stack.callback(lambda: subprocess.run(["rm", "-r", str(volume)], check=True))
        (tmp_path / "pushed").symlink_to(volume)
        version = put(tmp_path, record)
        assert content_digest(str(volume / version)) == record.digest
        assert os.listdir(tmp_path / "pushing") == ["lock"]


@pytest.mark.parametrize("root", ["", "ram:/"])
def test_a_copy_that_fails_makes_no_version(tmp_path, root):
    model = write_model(tmp_path / "model", b"a")
    (model / "variables" / "zero").symlink_to("gone")
    pushed = f"{root}{tmp_path}/run/pushed"
    with pytest.raises(tf.errors.NotFoundError), alone(pushed):
        place(str(model), pushed, Version("", "a", "", "pipeline"))
    assert standing(pushed) == []
    assert numbers(pushed) == [] or root
