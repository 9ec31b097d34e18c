"""Configs from plain values and back: right types all the way down, or an error that names the dotted field."""

import dataclasses
from typing import Any, Literal

import pytest

from pipeline.recipe import Recipe, load_recipe
from pipeline.settings import ConfigError, build, from_json, override, to_json


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    steps: int = 10
    kind: Literal["adam", "sgd"] = "adam"

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"rate is {self.rate}; it must be above 0")


@dataclasses.dataclass(frozen=True)
class Part:
    pattern: str
    inner: Inner = Inner()


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    size: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    maybe: float | None = None
    flag: bool = False
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    text: str = ""
    parts: tuple[Part, ...] = ()
    optional: Inner | None = None
    amount: float | str | None = None


NESTED = Outer(
    Inner(0.5, 3, "sgd"), (3, 4), ("a", "b"), 1.5, True, {"k": [1, None]}, "x", (Part("a,b"), Part("c", Inner(2.0)))
)


@pytest.mark.parametrize("config", [Outer(), NESTED, load_recipe("demo")], ids=["defaults", "nested", "demo"])
def test_json_gives_the_same_config_back(config):
    assert from_json(type(config), to_json(config)) == config


def test_equal_configs_have_the_same_json():
    assert to_json(build(Outer, {"flag": True, "text": "x"})) == to_json(build(Outer, {"text": "x", "flag": True}))


def test_fields_that_are_not_named_keep_their_defaults():
    assert build(Outer, {"inner": {"steps": 7}}) == Outer(inner=Inner(steps=7))


def test_whole_numbers_become_floats_and_lists_tuples_where_the_field_requires():
    built = build(Outer, {"inner": {"rate": 1}, "size": [5, 6], "maybe": 2})
    assert (built.inner.rate, built.size, built.maybe) == (1.0, (5, 6), 2.0)
    assert isinstance(built.inner.rate, float)
    assert isinstance(built.maybe, float)


@pytest.mark.parametrize(("value", "built"), [(2, 2.0), ("2Gi", "2Gi"), (None, None)])
def test_a_field_of_several_types_takes_each(value, built):
    assert build(Outer, {"amount": value}).amount == built


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"extra": "a"}, "extra is 'a'; it must be an object {…} of keys and values"),
        ({"extra": {1: "a"}}, "extra has the key 1; it must be of type str"),
        ({"inner": {"stpes": 1}}, "unknown setting 'inner.stpes'; did you mean 'inner.steps'?"),
        # The group, which they have in common, makes no two names alike.
        ({"inner": {"x": 1}}, "unknown setting 'inner.x'; there are inner.rate, inner.steps, inner.kind"),
    ],
)
def test_values_of_a_file_that_do_not_fit_name_their_key(values, said):
    with pytest.raises(ConfigError) as caught:
        build(Outer, values)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("inner.steps", "200", 200),
        ("inner.rate", "1e-3", 0.001),
        ("inner.rate", "2", 2.0),
        ("inner.kind", "sgd", "sgd"),
        ("size", "3,4", (3, 4)),
        ("size", "[3, 4]", (3, 4)),
        ("names", "verb,noun", ("verb", "noun")),
        ("names", "verb", ("verb",)),
        ("names", "", ()),
        ("names", "[]", ()),
        ("names", "1,2", ("1", "2")),
        ("maybe", "None", None),
        ("maybe", "null", None),
        ("maybe", "0.5", 0.5),
        ("flag", "true", True),
        ("flag", "False", False),
        (
            "parts",
            '[{"pattern": "[0-1],?"}, {"pattern": "1", "inner": {"rate": 2}}]',
            (Part("[0-1],?"), Part("1", Inner(2.0))),
        ),
        ("parts", '{"pattern": "a"}', (Part("a"),)),
        ("parts", "[]", ()),
        ("text", "007", "007"),
        ("text", "a=b,c", "a=b,c"),
    ],
)
def test_a_setting_is_read_as_its_field_requires(key, text, value):
    config = override(NESTED, {key: text})
    for name in key.split("."):
        config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


def test_a_setting_leaves_the_others_alone():
    changed = override(NESTED, {"inner.steps": "4"})
    assert changed == dataclasses.replace(NESTED, inner=dataclasses.replace(NESTED.inner, steps=4))


def test_an_optional_group_is_turned_on_by_one_of_its_settings_and_off_by_null():
    turned_on = override(NESTED, {"optional.steps": "4"})
    assert turned_on.optional == dataclasses.replace(Inner(), steps=4)
    assert override(turned_on, {"optional.rate": "2"}).optional.steps == 4
    assert override(turned_on, {"optional": "null"}) == NESTED


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"inner.step": "1"}, "unknown setting 'inner.step'; did you mean 'inner.steps'?"),
        ({"iner.steps": "1"}, "unknown setting 'iner'; did you mean 'inner'?"),
        (
            {"qqq": "1"},
            "unknown setting 'qqq'; there are inner, size, names, maybe, flag, extra, text, parts, optional, amount",
        ),
        ({"inner.steps": "many"}, "inner.steps is 'many'; it must be of type int"),
        ({"inner.steps": "1.5"}, "inner.steps is 1.5; it must be of type int"),
        ({"inner.steps": "true"}, "inner.steps is True; it must be of type int"),
        ({"inner.rate": "fast"}, "inner.rate is 'fast'; it must be of type float"),
        ({"inner.rate": "null"}, "inner.rate is None; it must be of type float"),
        ({"inner.rate": "nan"}, "inner.rate is 'nan'; it must be of type float"),
        ({"inner.rate": "NaN"}, "inner.rate is nan; it must be a finite number"),
        ({"inner.rate": "0"}, "inner: rate is 0.0; it must be above 0"),
        ({"inner.kind": "lion"}, "inner.kind is 'lion'; it must be one of 'adam', 'sgd'"),
        ({"size": "1,2,3"}, "size is ['1', '2', '3']; it must have 2 values"),
        ({"size": "1,b"}, "size is 'b'; it must be of type int"),
        ({"maybe": "x"}, "maybe is 'x'; it must be of type float"),
        ({"flag": "1"}, "flag is 1; it must be of type bool"),
        ({"inner": "1"}, "inner is a group of settings; set one of inner.rate, inner.steps, inner.kind"),
        ({"text.length": "1"}, "text.length: text is a value, not a group of settings"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_setting_that_does_not_fit_is_refused_by_its_dotted_name(settings, said):
    with pytest.raises(ConfigError) as caught:
        override(NESTED, settings)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"inner": {"stepz": 1}}, "unknown setting 'inner.stepz'; did you mean 'inner.steps'?"),
        ({"inner": {"steps": "1"}}, "inner.steps is '1'; it must be of type int"),
        ({"inner": {"rate": -1}}, "inner: rate is -1.0; it must be above 0"),
        ({"inner": 3}, 'inner is 3; it must be a JSON object {…} with the fields "rate", "steps", "kind"'),
        ({"parts": [{"pattern": "a"}, {"pattern": 1}]}, "parts[1].pattern is 1; it must be of type str"),
        ({"parts": [{"inner": {"rate": 2}}]}, "parts[0].pattern is missing"),
        ({"parts": ["a"]}, """parts[0] is 'a'; it must be a JSON object {…} with the fields "pattern", "inner\""""),
        ({"text": 3}, "text is 3; it must be of type str"),
        ({"names": ["a", 1]}, "names is 1; it must be of type str"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_dotted_name(values, said):
    with pytest.raises(ConfigError) as caught:
        build(Outer, values)
    assert str(caught.value) == said


# Recipes.


def test_a_recipe_is_changed_by_the_settings_of_the_command_line():
    recipe = load_recipe("demo", ["train.epochs=3", "data.heads=verb,noun", "model.tubelet=2,8,8", "data.slices=null"])
    assert (recipe.train.epochs, recipe.data.heads, recipe.model.tubelet) == (3, ("verb", "noun"), (2, 8, 8))
    assert recipe.data.slices is None
    assert from_json(Recipe, to_json(recipe)) == recipe


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("dmeo", [], "no recipe 'dmeo'; there are "),
        ("demo", ["train.epochs"], "--set train.epochs: wanted key=value"),
        ("demo", ["train.epoch=3"], "unknown setting 'train.epoch'; did you mean 'train.epochs'?"),
        ("demo", ["data.storage=png"], "data.storage is 'png'; it must be one of 'jpeg', 'raw'"),
        ("demo", ["ingest.fps=0"], "ingest: ingest.fps is 0.0; it must be between 0.1 and 1000"),
        (
            "small",
            ["clip.crop_size=40"],
            "clip.crop_size is 40, but model.tubelet=2,16,16 wants a multiple of 16: the network would never see the "
            "last 8. Set it to 32 or 48",
        ),
        (
            "small",
            ["train.batch_size=9", "augment.repeats=2"],
            "train.batch_size is 9; augment.repeats 2 must divide it",
        ),
        (
            "small",
            ["train.sampling=balanced", "train.class_weights=balanced"],
            "train: sampling and class_weights are both 'balanced'; rare classes would count twice: choose one",
        ),
        (
            "demo",
            ["train.class_weights=balanced"],
            "augment.still and train.class_weights exclude each other",
        ),
        ("small", ["clip.crop_size=8"], "clip.crop_size is 8, but model.tubelet=2,16,16 wants a multiple of 16"),
        ("small", ["model.tubelet=2,16,12"], "clip.crop_size is 112, but model.tubelet=2,16,12 wants a multiple of 48"),
        (
            "small",
            ["clip.num_frames=5"],
            "clip.num_frames is 5, but model.tubelet=2,16,16 wants a multiple of 2: the network would never see the "
            "last 1. Set it to 4 or 6",
        ),
        (
            "kinetics400_b",
            ["augment.scale=0.5,1.5"],
            "augment.scale goes down to 0.5, where clip.min_resize=256 makes frames of 128 pixels, smaller than "
            "clip.crop_size=224: let it begin at 0.88, or raise clip.min_resize",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(name, overrides, said):
    with pytest.raises(ConfigError) as caught:
        load_recipe(name, overrides)
    assert str(caught.value).startswith(said)


def test_settings_that_fit_together_are_taken_together():
    recipe = load_recipe(
        "small", ["clip.crop_size=40", "model.tubelet=5,8,8", "clip.num_frames=5", "augment.scale=null"]
    )
    assert recipe.clip.shape == (5, 40, 40)
    # Of single frames, the network takes those that it wants.
    assert load_recipe("small", ["model.sampled_frames=3", "model.tubelet=1,16,16"]).model.sampled_frames == 3
