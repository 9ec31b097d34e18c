"""Which model the candidate is compared with: the latest blessed one that is not the candidate itself."""

from __future__ import annotations

from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy

MODEL_KEY = "model"
BLESSING_KEY = "model_blessing"
CANDIDATE_KEY = "candidate"


class PreviousBlessedModelStrategy(LatestBlessedModelStrategy):
    """LatestBlessedModelStrategy without the candidate of this run.

    A second run on unchanged inputs trains nothing: its candidate is the model of the first run, blessed meanwhile.
    Compared with itself it would be evaluated, blessed and pushed again.
    """

    def resolve_artifacts(self, store, input_dict):
        """Resolves `MODEL_KEY` and `BLESSING_KEY`; `CANDIDATE_KEY` passes through."""
        candidates = {artifact.id for artifact in input_dict[CANDIDATE_KEY]}
        others = {
            MODEL_KEY: [model for model in input_dict[MODEL_KEY] if model.id not in candidates],
            BLESSING_KEY: input_dict[BLESSING_KEY],
        }
        return {**self._resolve(others, MODEL_KEY, BLESSING_KEY), CANDIDATE_KEY: input_dict[CANDIDATE_KEY]}
