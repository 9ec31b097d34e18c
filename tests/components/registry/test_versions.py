"""Which versions there are, which is in production, which was rolled back: read from the folder, whoever wrote it."""

import shutil

import pytest
import tensorflow as tf

from components.registry.approval import rollback
from components.registry.records import RegistryError, Version, read_record
from components.registry.versions import content_digest, in_force, production, rolled_back_by, standing
from tests.components.registry.runs import put, write_candidates, write_model


@pytest.fixture
def three(tmp_path):
    """A workdir with three models that were pushed, one after the other; and their versions."""
    return tmp_path, [put(tmp_path, record) for record in write_candidates(tmp_path, "a", "b", "c")]


def back(workdir, version=""):
    return rollback(str(workdir), version, who="ann", why="it is slow").version


def serving(workdir, besides=""):
    found = production(standing(str(workdir / "pushed")), besides)
    return found and found.version


def test_versions_stand_in_the_order_of_their_numbers_with_their_records(three):
    workdir, versions = three
    models = standing(str(workdir / "pushed"))
    assert [model.version for model in models] == versions == sorted(versions, key=int)
    assert [model.path for model in models] == [str(workdir / "pushed" / version) for version in versions]
    assert [model.record.candidate.model_uri[-1] for model in models] == ["a", "b", "c"]
    assert serving(workdir) == versions[-1]


def test_numbers_are_compared_as_numbers(tmp_path):
    for name in ("9", "10"):
        write_model(tmp_path / "pushed" / name, name.encode())
    assert serving(tmp_path) == "10"


def test_what_is_half_written_or_no_number_is_no_version(three):
    workdir, versions = three
    write_model(workdir / "pushed" / "9999999999", b"half").joinpath("saved_model.pb").unlink()
    write_model(workdir / "pushed" / "backup", b"d")
    (workdir / "pushed" / "99999999999").write_text("a file")
    assert [model.version for model in standing(str(workdir / "pushed"))] == versions


def test_without_a_folder_nothing_is_in_production(tmp_path):
    assert standing(str(tmp_path / "pushed")) == []
    assert serving(tmp_path) is None


def test_a_version_that_was_copied_by_hand_counts(three):
    workdir, versions = three
    model = write_model(workdir / "pushed" / "3000000000", b"by hand")
    found = production(standing(str(workdir / "pushed")))
    assert (found.version, found.digest, found.record) == ("3000000000", content_digest(str(model)), None)


def test_a_copy_by_hand_has_not_the_record_of_its_original(three):
    workdir, (_, second, _) = three
    shutil.copytree(workdir / "pushed" / second, workdir / "pushed" / "3000000000")
    found = production(standing(str(workdir / "pushed")))
    assert found.record is None
    assert found.digest == standing(str(workdir / "pushed"))[1].digest


def test_a_record_that_cannot_be_read_costs_no_version(three, caplog):
    workdir, versions = three
    record = workdir / "pushed" / versions[-1] / "assets.extra" / "version.json"
    digest = read_record(Version, str(record)).digest
    record.write_text('{"version": 3')
    found = production(standing(str(workdir / "pushed")))
    assert (found.version, found.digest, found.record) == (versions[-1], digest, None)
    assert f"version {versions[-1]} counts as one that was copied by hand: {record} is no version" in caplog.text


def test_a_rollback_makes_the_version_before_the_newest_and_keeps_all(three):
    workdir, (first, second, third) = three
    fourth = back(workdir)
    models = standing(str(workdir / "pushed"))
    assert [model.version for model in models] == [first, second, third, fourth]
    assert models[3].digest == models[1].digest
    assert models[3].record.rollback_of == second
    assert [model.version for model in in_force(models)] == [first, second, fourth]
    assert rolled_back_by(models, models[2]) == models[3]
    assert rolled_back_by(models, models[1]) is None


def test_each_rollback_goes_one_model_further_back(three):
    workdir, (first, second, third) = three
    fifth = (back(workdir), back(workdir))[1]
    assert standing(str(workdir / "pushed"))[-1].record.rollback_of == first
    with pytest.raises(RegistryError, match=f"there is nothing older than version {fifth} to roll back to"):
        back(workdir)


def test_what_was_rolled_back_can_be_brought_back(three):
    workdir, (first, second, third) = three
    back(workdir)
    fifth = back(workdir, third)
    models = standing(str(workdir / "pushed"))
    assert models[-1].digest == models[2].digest
    assert [model.version for model in in_force(models)] == [first, second, fifth]
    assert rolled_back_by(models, models[3]).version == fifth
    back(workdir)
    assert standing(str(workdir / "pushed"))[-1].record.rollback_of == second


def test_a_copy_of_an_older_version_by_hand_is_a_rollback(three):
    workdir, (first, second, third) = three
    shutil.copytree(workdir / "pushed" / first, workdir / "pushed" / "3000000000")
    models = standing(str(workdir / "pushed"))
    assert [model.version for model in in_force(models)] == [first, "3000000000"]
    assert rolled_back_by(models, models[2]).version == "3000000000"


def test_a_candidate_is_compared_with_what_was_in_production_before_it(three):
    workdir, (first, second, third) = three
    a, b, c = (model.digest for model in standing(str(workdir / "pushed")))
    assert [serving(workdir, digest) for digest in (a, b, c, "new")] == [third, third, second, third]
    fourth = back(workdir)
    assert [serving(workdir, digest) for digest in (a, b, c, "new")] == [fourth, first, fourth, fourth]


def test_a_digest_covers_names_and_contents_and_nothing_that_a_push_adds(three):
    workdir, versions = three
    original = content_digest(str(workdir / "models" / "a"))
    pushed = workdir / "pushed" / versions[0]
    (pushed / "assets.extra" / "model_card.md").write_text("# a")
    assert content_digest(str(pushed)) == original
    weights = pushed / "variables" / "variables.data"
    weights.rename(weights.with_name("variables.data-0"))
    renamed = content_digest(str(pushed))
    weights.with_name("variables.data-0").write_bytes(b"x")
    assert len({original, renamed, content_digest(str(pushed)), content_digest(str(workdir / "models" / "b"))}) == 4


def test_a_digest_is_the_same_on_another_file_system(three):
    workdir, _ = three
    for name in ("saved_model.pb", "variables/variables.data", "assets.extra/vivit.json"):
        tf.io.gfile.makedirs(f"ram:/{workdir}/a/{name}".rpartition("/")[0])
        tf.io.gfile.copy(str(workdir / "models" / "a" / name), f"ram:/{workdir}/a/{name}")
    assert content_digest(f"ram:/{workdir}/a") == content_digest(str(workdir / "models" / "a"))
