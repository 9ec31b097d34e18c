"""The bytes of the demo's examples, which only a change of what is stored may change."""

import hashlib

from pipeline.data import prepare
from pipeline.recipe import load_recipe
from tests.components.ingest.running import ingest

FIRST_SHARDS = {
    "train": "43f4740cbd7bc90650ce84529a76d08db22b64d16ad4c9350dd99d488b7d2001",
    "eval": "a2ec7ad7314f7185608ae017ef306865955eb39d23f44c3de4827bbd8256bf2b",
}


def test_the_first_shards_of_the_small_demo_are_what_they_were(small_demo, tmp_path):
    recipe = load_recipe("demo", ["train.batch_size=8"])
    data, _ = prepare(str(small_demo), str(tmp_path), recipe)
    ingest(tmp_path, data.manifest_dir, recipe.ingest)
    first = {
        split: tmp_path / "examples" / f"Split-{split}" / "data_tfrecord-00000-of-00008.gz" for split in FIRST_SHARDS
    }
    assert {split: hashlib.sha256(path.read_bytes()).hexdigest() for split, path in first.items()} == FIRST_SHARDS
