"""The bytes of the demo's examples, which only a change of what is stored may change."""

import hashlib

from pipeline.data import prepare
from pipeline.recipe import load_recipe
from tests.components.ingest.running import ingest

FIRST_SHARDS = {
    "train": "1f55b19a3f4a729eb7aefda3ddd84ae8d2ae4f75f73d7b2c1e2a5c5cbc054335",
    "eval": "f11d6dc6364fbfce273d4a7183d904634a9eae5bdd27295b3386d5184877903b",
}


def test_the_first_shards_of_the_small_demo_are_what_they_were(small_demo, tmp_path):
    recipe = load_recipe("demo", ["train.batch_size=8"])
    data, _ = prepare(str(small_demo), str(tmp_path), recipe)
    ingest(tmp_path, data.manifest_dir, recipe.ingest)
    first = {
        split: tmp_path / "examples" / f"Split-{split}" / "data_tfrecord-00000-of-00008.gz" for split in FIRST_SHARDS
    }
    assert {split: hashlib.sha256(path.read_bytes()).hexdigest() for split, path in first.items()} == FIRST_SHARDS
