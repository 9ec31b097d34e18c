"""models.training.groups: which rate each weight has, by hand, and weights that stay as they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name
from models.training.groups import GroupsConfig, Rule, WeightGroup, apply_groups, describe, rules_of
from models.training.steps import train_step
from pipeline.recipe import load_recipe
from tests.models.training import runs as training_runs
from tests.models.training.runs import with_settings
from tests.models.training.test_steps import batch_of, optimizer_of

TINY = {"tubelet": (2, 8, 8), "hidden_size": 8, "num_layers": 2, "temporal_layers": 2, "num_heads": 2, "mlp_dim": 8}


def names_of(variant, classifier="gap", **settings):
    config = ViViTConfig(variant=variant, classifier=classifier, **TINY, **settings)
    return list(weights_by_name(build_vivit(config, clip_shape=(4, 16, 16), heads={"label": 3})))


# With a decay of 0.5 over two blocks: layers 0 to 3 have 1/8, 1/4, 1/2 and 1.
def by_hand(encoder, **more):
    return {
        "embedding/": 0.125,
        f"{encoder}/posembed_input/": 0.125,
        f"{encoder}/encoderblock_0/": 0.25,
        f"{encoder}/encoderblock_1/": 0.5,
        f"{encoder}/encoder_norm/": 1.0,
        "output_projection/": 1.0,
        **more,
    }


@pytest.mark.parametrize(
    ("variant", "classifier", "expected"),
    [
        ("spacetime", "token", by_hand("Transformer", cls=0.125)),
        (
            "factorized_encoder",
            "token",
            by_hand(
                "SpatialTransformer", cls_SpatialTransformer=0.125, cls_TemporalTransformer=1.0, TemporalTransformer=1.0
            ),
        ),
        ("factorized_self_attention", "gap", by_hand("Transformer")),
        ("factorized_dot_product", "gap", by_hand("Transformer")),
    ],
)
def test_layer_decay_is_what_it_is_by_hand(variant, classifier, expected):
    rules = rules_of(GroupsConfig(layer_decay=0.5), names_of(variant, classifier))
    seen = set()
    for name, rule in rules.items():
        (prefix,) = [prefix for prefix in expected if name == prefix or name.startswith(prefix)]
        assert rule == Rule(expected[prefix]), name
        seen.add(prefix)
    assert seen == set(expected)


def test_what_stands_before_the_head_keeps_the_full_rate_and_has_the_heads_factor():
    config = GroupsConfig(layer_decay=0.5, head_rate=3.0)
    for before, names in {
        "fc_norm/": names_of("spacetime", fc_norm=1e-6),
        "pooler/": names_of("factorized_encoder", "attention_pooler", spatial_pool=False),
        "attentive/": names_of("spacetime", "attentive"),
    }.items():
        rules = rules_of(config, names)
        fast = {name for name, rule in rules.items() if rule == Rule(3.0)}
        assert fast == {name for name in names if name.startswith((before, "output_projection/"))}
        assert any(name.startswith(before) for name in fast)


def test_videoprisms_recipe_trains_its_pooler_and_head_alone():
    names = names_of("factorized_encoder", "attention_pooler", spatial_pool=False)
    rules = rules_of(load_recipe("videoprism_b").train.optimizer, names)
    trained = {name for name, rule in rules.items() if not rule.frozen}
    assert trained == {name for name in names if name.startswith(("pooler/", "output_projection/"))}


def test_frozen_layers_are_the_first_ones_with_all_before_them_unless_a_group_says_otherwise():
    config = GroupsConfig(frozen_layers=0.5, groups=(WeightGroup("posembed", rate=2.0),))
    rules = rules_of(config, names_of("factorized_encoder", "token"))
    frozen = {name.rsplit("/", 1)[0].split("/LayerNorm")[0] for name, rule in rules.items() if rule.frozen}
    assert {name for name in frozen if "Block" not in name and "Attention" not in name} == {
        "embedding", "cls_SpatialTransformer", "SpatialTransformer/encoderblock_0",
    }  # fmt: skip
    assert all("encoderblock_0" in name and "Temporal" not in name for name in frozen if "Block" in name)
    assert rules["SpatialTransformer/posembed_input/pos_embedding"] == Rule(2.0)
    with pytest.raises(ValueError, match="frozen_layers must be in"):
        GroupsConfig(frozen_layers=1.5)


def test_layer_decay_of_twelve_blocks_counts_as_beit_does():
    names = [f"Transformer/encoderblock_{block}/LayerNorm_0/scale" for block in range(12)]
    rules = rules_of(GroupsConfig(layer_decay=0.75), ["embedding/kernel", *names, "output_projection/kernel"])
    assert [rule.rate for rule in rules.values()] == [0.75 ** (13 - layer) for layer in range(14)]


def test_factors_of_head_time_depth_and_group_multiply():
    config = GroupsConfig(
        layer_decay=0.5, head_rate=8.0, temporal_rate=2.0, groups=(WeightGroup("^output.*bias$", rate=3.0),)
    )
    rules = rules_of(config, names_of("factorized_encoder", representation_size=4))
    assert rules["output_projection/kernel"] == rules["pre_logits/kernel"] == Rule(8.0)
    assert rules["output_projection/bias"] == Rule(24.0)
    assert rules["TemporalTransformer/encoderblock_1/LayerNorm_0/scale"] == Rule(2.0)
    assert rules["SpatialTransformer/encoderblock_1/LayerNorm_0/scale"] == Rule(0.5)


def test_time_in_model_3_is_its_attention_over_time():
    rules = rules_of(GroupsConfig(temporal_rate=2.0), names_of("factorized_self_attention"))
    faster = {name for name, rule in rules.items() if rule.rate == 2}
    assert faster == {name for name in rules if "LayerNorm_time/" in name or "Attention_time/" in name}
    assert faster


def test_the_first_group_that_matches_wins():
    groups = (WeightGroup("encoderblock_0/", weight_decay=0.5), WeightGroup("Transformer", frozen=True))
    rules = rules_of(GroupsConfig(groups=groups), names_of("spacetime"))
    assert rules["Transformer/encoderblock_0/LayerNorm_0/scale"] == Rule(1.0, 0.5)
    assert rules["Transformer/encoderblock_1/LayerNorm_0/scale"].frozen
    assert describe(rules).startswith(f"weights by factor of the rate: {sum(r.frozen for r in rules.values())} frozen")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GroupsConfig(groups=(WeightGroup("Spatial"),)), "no weight for the pattern 'Spatial': .* embedding/kernel, "),
        (
            GroupsConfig(groups=(WeightGroup("."), WeightGroup("bias"))),
            "no weight for the pattern 'bias': none matches",
        ),
        (GroupsConfig(temporal_rate=2.0), "no weights over time alone; some of the [0-9]+ names: embedding/kernel, "),
        (GroupsConfig(groups=(WeightGroup("", frozen=True),)), "every weight is frozen"),
    ],
)
def test_a_group_without_weights_is_an_error_that_lists_names(config, message):
    with pytest.raises(ValueError, match=message):
        rules_of(config, names_of("spacetime"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pattern": "("}, "pattern '\\(' is no regular expression: missing \\)"),
        ({"pattern": "a", "rate": 0}, "rate must be above 0, got 0"),
        ({"pattern": "a", "weight_decay": -1}, "weight_decay must be 0 or more, or None, got -1"),
        ({"pattern": "a", "frozen": True, "rate": 2}, "'a' is frozen: it takes neither rate nor weight_decay"),
    ],
)
def test_a_group_says_what_is_wrong_with_it(fields, message):
    with pytest.raises(ValueError, match=message):
        WeightGroup(**fields)


def test_a_recipe_takes_groups_from_the_command_line():
    recipe = load_recipe(
        "small",
        [
            "train.optimizer.layer_decay=0.75",
            'train.optimizer.groups=[{"pattern": "^embedding/", "frozen": true}, {"pattern": "_[0-1],?/", "rate": 2}]',
        ],
    )
    assert recipe.train.optimizer.layer_decay == 0.75
    assert recipe.train.optimizer.groups == (
        WeightGroup("^embedding/", frozen=True),
        WeightGroup("_[0-1],?/", rate=2.0),
    )


# Training.

BACKBONE = '[{"pattern": "^(?!output_projection)", "frozen": true}]'


def gradient_products(config, batch):
    """Matrix products in the graph of one training step."""
    model = build_model(config.model, clip_shape=config.clip.shape, classes={"verb": ["a", "b", "c"]})
    step = train_step(model, optimizer_of(model, config), config.augment, clipping=config.train.optimizer)
    graph = tf.function(step).get_concrete_function(batch).graph
    return sum("MatMul" in operation.type for operation in graph.get_operations())


def test_nothing_is_computed_backwards_through_frozen_weights(clips):
    batch = batch_of(clips, with_settings(), 4)
    model = build_model(with_settings().model, clip_shape=with_settings().clip.shape, classes={"verb": ["a", "b", "c"]})
    pixels = tf.zeros((4, *with_settings().clip.shape, 3))
    forward = tf.function(lambda: model(pixels, training=True)).get_concrete_function().graph
    forward = sum("MatMul" in operation.type for operation in forward.get_operations())
    assert gradient_products(with_settings(train__optimizer__groups=BACKBONE), batch) == forward + 1
    assert gradient_products(with_settings(), batch) > 2 * forward


def test_the_gradients_norm_is_that_of_the_weights_that_train(clips):
    config = with_settings(train__optimizer__groups=BACKBONE, augment__scale="null", augment__flip="0")
    batch = batch_of(clips, config, 4)
    model = build_model(config.model, clip_shape=config.clip.shape, classes={"verb": ["a", "b", "c"]})
    step = train_step(model, optimizer_of(model, config), config.augment, clipping=config.train.optimizer)
    pixels = tf.cast(batch["clip"], tf.float32) * 2 / 255 - 1
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"]["verb"], model(pixels)["verb"])
        loss = tf.reduce_mean(losses)
    head = [weight.value for weight in model.weights if weight.path.startswith("output_projection")]
    wanted = tf.linalg.global_norm(tape.gradient(loss, head))
    np.testing.assert_allclose(step(batch)["gradient_norm"], wanted, rtol=1e-4)


STEADY = with_settings(
    train__epochs="3",
    train__checkpoint_steps="5",
    train__eval_epochs="3",
    train__accumulate_steps="2",
    train__optimizer__name="adamw",
    train__optimizer__ema="0.9",
    train__optimizer__weight_decay="0.1",
    train__optimizer__layer_decay="0.5",
    train__optimizer__head_rate="4",
    train__optimizer__schedule__base_learning_rate="0.001",
    train__optimizer__groups='[{"pattern": "SpatialTransformer|^embedding", "frozen": true}]',
    model__stochastic_depth="0.3",
    model__dropout="0.1",
)


def test_frozen_weights_stay_bit_for_bit_and_a_restart_ends_where_an_undisturbed_run_ends(clips, tmp_path):
    undisturbed = training_runs.run(clips, tmp_path / "undisturbed", STEADY)
    keras.utils.set_random_seed(1)
    begun = build_model(STEADY.model, clip_shape=STEADY.clip.shape, classes={"verb": ["a", "b", "c"]})
    moved = {}
    for first, last in zip(begun.weights, undisturbed.weights, strict=True):
        moved[first.path] = bool(np.any(first.numpy() != last.numpy()))
    frozen = {path for path in moved if "SpatialTransformer" in path or path.startswith("embedding")}
    assert {path for path, moves in moved.items() if not moves} == frozen
    training_runs.run(clips, tmp_path / "again", STEADY, executions=7)
    assert tf.train.latest_checkpoint(str(tmp_path / "again" / "checkpoints")).endswith("step-5")
    resumed = training_runs.run(clips, tmp_path / "again", STEADY)
    for found, wanted in zip(resumed.weights, undisturbed.weights, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_freezing_is_undone_by_other_groups():
    config = with_settings()
    model = build_model(config.model, clip_shape=config.clip.shape, classes={"verb": ["a", "b", "c"]})
    every = len(model.trainable_variables)
    apply_groups(model, GroupsConfig(groups=(WeightGroup("^embedding", frozen=True),)))
    assert len(model.trainable_variables) == every - 2
    apply_groups(model, GroupsConfig())
    assert len(model.trainable_variables) == every
