"""The curated schema beside the keys of schemas/features.py."""

from schemas import features
from schemas.schema import build_schema


def test_the_schema_names_the_keys_of_a_raw_example_and_no_others():
    heads, slices = ["verb", "noun"], ["camera"]
    named = {feature.name for feature in build_schema(heads, slices).feature}
    assert named == {features.CLIP_FRAMES, *features.describing_keys(heads, slices)}


def test_a_clip_has_one_class_of_each_head():
    (label,) = [feature for feature in build_schema(["verb"]).feature if feature.name == "label/verb"]
    assert (label.value_count.min, label.value_count.max) == (1, 1)
