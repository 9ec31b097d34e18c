"""Custom TFX components and the media code they need. A library without TFX."""


def __getattr__(name: str):
    # Kubeflow's entry point finds a custom artifact type by importing its TYPE_NAME, of the form <package>.<Class>.
    # Deferred, so that the parts without TFX stay without TFX.
    if name == "Quarantine":
        from components.ingest.example_gen import Quarantine

        return Quarantine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
