"""Runs the pipeline on this machine with TFX's BeamDagRunner, and reports each node as it runs."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher
from tfx.proto.orchestration.executable_spec_pb2 import BeamExecutableSpec

from pipeline.beam import LOCAL_RUNNER


@dataclasses.dataclass(frozen=True)
class NodeResult:
    """What one node did: its outputs are the artifacts by output key, with uri and custom properties."""

    node_id: str
    seconds: float
    cached: bool
    outputs: Mapping[str, list[metadata_store_pb2.Artifact]]


class NodeFailedError(RuntimeError):
    """A node of the pipeline failed; `reason` is its own error, without Beam's wrapping."""

    def __init__(self, node_id: str, reason: BaseException):
        super().__init__(f"{node_id} failed: {reason}")
        self.node_id, self.reason = node_id, reason


class _Run:
    """The run in progress. Beam pickles the nodes, so that they can only reach it as a global."""

    current: _Run | None = None

    def __init__(self, total: int, echo: Callable[[str], None], after_each: Callable[[], None]):
        self.results: dict[str, NodeResult] = {}
        self.failed: NodeFailedError | None = None
        self._started, self._total, self._echo, self._after_each = 0, total, echo, after_each

    def start(self, node_id: str) -> None:
        self._started += 1
        self._echo(f"[{self._started:2d}/{self._total}] {node_id} …")

    def finish(self, result: NodeResult) -> None:
        self.results[result.node_id] = result
        self._after_each()
        self._echo(f"      {'unchanged, from cache' if result.cached else f'done in {result.seconds:.0f} s'}")

    def fail(self, node_id: str, error: BaseException) -> None:
        self.failed = NodeFailedError(node_id, error)


class _ReportingNode(beam_dag_runner.PipelineNodeAsDoFn):
    def _run_node(self) -> None:
        run = _Run.current
        run.start(self._node_id)
        started = time.monotonic()
        try:
            self._launch()
        except Exception as error:
            run.fail(self._node_id, error)
            raise
        cached, outputs = self._last_execution()
        run.finish(NodeResult(self._node_id, time.monotonic() - started, cached, outputs))

    def _launch(self) -> None:
        """As the class above does, but the cache compares no Beam options: they change no byte, on any runner."""
        node = launcher.Launcher(
            pipeline_node=self._pipeline_node,
            mlmd_connection=metadata.Metadata(self._mlmd_connection_config),
            pipeline_info=self._pipeline_info,
            pipeline_runtime_spec=self._pipeline_runtime_spec,
            executor_spec=self._executor_spec,
            custom_driver_spec=self._custom_driver_spec,
        )
        # By now the options are in the executor; from here on, the launcher reads the cache's key from its spec.
        if isinstance(self._executor_spec, BeamExecutableSpec):
            node._executor_spec = BeamExecutableSpec(python_executor_spec=self._executor_spec.python_executor_spec)
        node.launch()

    def _last_execution(self) -> tuple[bool, dict[str, list[metadata_store_pb2.Artifact]]]:
        with metadata.Metadata(self._mlmd_connection_config) as handle:
            executions = handle.store.get_executions_by_type(self._pipeline_node.node_info.type.name)
            last = max(executions, key=lambda execution: execution.id)
            events = [
                event
                for event in handle.store.get_events_by_execution_ids([last.id])
                if event.type == metadata_store_pb2.Event.OUTPUT
            ]
            artifacts = {a.id: a for a in handle.store.get_artifacts_by_id([event.artifact_id for event in events])}
        outputs: dict[str, list[metadata_store_pb2.Artifact]] = {}
        for event in events:
            outputs.setdefault(event.path.steps[0].key, []).append(artifacts[event.artifact_id])
        return last.last_known_state == metadata_store_pb2.Execution.CACHED, outputs


class _ReportingRunner(beam_dag_runner.BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _ReportingNode


def run_pipeline(
    pipeline: Pipeline, echo: Callable[[str], None], after_each: Callable[[], None] = lambda: None
) -> dict[str, NodeResult]:
    """Runs a pipeline; returns the result of each node by node id.

    Args:
      pipeline: The TFX pipeline.
      echo: Called with one line per event.
      after_each: Called after each node that has run.

    Raises:
      NodeFailedError: If a node fails.
    """
    run = _Run.current = _Run(len(pipeline.components), echo, after_each)
    try:
        with _orchestrator_arguments():
            _ReportingRunner().run(pipeline)
    except Exception as error:
        if run.failed:
            raise run.failed from run.failed.reason
        raise error
    finally:
        _Run.current = None
    return run.results


@contextmanager
def _orchestrator_arguments() -> Iterator[None]:
    """Sets the arguments of the process, the only options that BeamDagRunner's own Beam pipeline reads."""
    saved, sys.argv = sys.argv, [sys.argv[0], LOCAL_RUNNER]
    try:
        yield
    finally:
        sys.argv = saved
