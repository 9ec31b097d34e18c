"""The Pusher's executor: pushes a model whole or not at all, with its record, unless somebody must approve it first."""

from __future__ import annotations

import json

from tfx.components.pusher import executor
from tfx.types import artifact_utils
from tfx.types.standard_component_specs import MODEL_BLESSING_KEY, PUSHED_MODEL_KEY

from components.gates.model_gate import DIGEST_PROPERTY
from components.registry.approval import submit
from components.registry.candidates import candidate_id, find_candidate
from components.review.model_card import model_card

# Why a blessed model was not pushed.
DETAIL_PROPERTY = "detail"


class AtomicPusherExecutor(executor.Executor):
    """TFX's Pusher with another way to copy; ``custom_config`` names the workdir."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Pushes a model that gate and canary have blessed."""
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        workdir = json.loads(exec_properties["custom_config"])["workdir"]
        blessing = artifact_utils.get_single_instance(input_dict[MODEL_BLESSING_KEY])
        candidate = find_candidate(workdir, candidate_id(blessing.get_string_custom_property(DIGEST_PROPERTY)))
        submitted = submit(workdir, candidate, model_card=model_card(candidate, None))
        if submitted.version:
            version = submitted.version
            self._MarkPushed(pushed, pushed_destination=version.path, pushed_version=version.version)
            return
        self._MarkNotPushed(pushed)
        pushed.set_string_custom_property(DETAIL_PROPERTY, submitted.why_not)
