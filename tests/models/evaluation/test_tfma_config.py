"""models.evaluation.tfma_config: the gate is checked before anything runs."""

import pytest

from models.evaluation.tfma_config import EvaluationConfig, eval_config


def test_a_joint_gate_on_one_head_is_refused():
    with pytest.raises(ValueError, match=r"min_joint_top_1 is 0.5, but there is one head, verb: set .*min_top_1"):
        eval_config(("verb",), (), EvaluationConfig(min_joint_top_1=0.5))


def test_a_head_with_the_name_of_all_together_is_refused():
    with pytest.raises(ValueError, match="'joint' has the name of all heads together"):
        eval_config(("joint", "verb"), (), EvaluationConfig())


def test_a_gate_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"evaluation.min_joint_top_1 is 90; it must be between 0 and 1"):
        EvaluationConfig(min_joint_top_1=90)


@pytest.mark.parametrize(
    ("heads", "name"), [(("verb", "noun"), "action"), (("noun", "verb"), "action"), (("verb", "tool"), "joint")]
)
def test_verb_and_noun_together_are_the_action(heads, name):
    outputs = {
        output for spec in eval_config(heads, (), EvaluationConfig()).metrics_specs for output in spec.output_names
    }
    together = {name, f"{name}_centre_view"}
    assert outputs == {*heads, *(f"{head}_centre_view" for head in heads), *together}
