"""Packaging of the ViViT pipeline: its packages, the extras and the ``vivit`` command."""

from setuptools import find_packages, setup

# benchmarks/ is not in the image.
PACKAGES = ("schemas", "models", "components", "pipeline", "kubeflow", "benchmarks")

setup(
    name="vivit-tfx",
    version="0.1.0",
    description="A production pipeline for video classification with ViViT on TensorFlow Extended",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={
        "schemas": ["*.pbtxt"],
        "kubeflow": ["Dockerfile"],
        "pipeline.check": ["*.html"],
        "pipeline.timeline": ["*.html"],
        "components.review": ["*.html", "*.css", "*.js"],
    },
    install_requires=[
        "apache-beam>=2.47",
        "av>=17",
        # Manifests and videos at the URIs that TensorFlow does not read.
        "fsspec",
        "google-crc32c",
        "jinja2",
        "keras>=3.3,<4",
        # The plots of the review page.
        "matplotlib",
        "ml-dtypes",
        "numpy",
        "pillow",
        "psutil",
        "pydantic>=2",
        "rich",
        "scikit-learn",
        "scipy",
        # libjpeg-turbo without a copy: the same JPEG in four fifths of Pillow's time, which is what ingest waits for.
        "simplejpeg",
        # TensorFlow 2.21 leaves it out, and the summaries of training need it.
        "tensorboard",
        "tensorflow>=2.16",
        "tensorflow-model-analysis>=0.47",
        # The messages of warm-up requests.
        "tensorflow-serving-api>=2.16",
        "tensorflow-transform>=1.16",
        "tfx>=1.16,<1.22",
    ],
    extras_require={
        # The checks of converted checkpoints against Hugging Face's networks, and Keras's.
        "huggingface": ["torch", "transformers"],
        "keras-hub": ["keras-hub"],
        # Pipelines compiled for Kubeflow. From Python 3.12 on, tfx[kfp] leaves kfp out.
        "kubeflow": ["tfx[kfp]>=1.16,<1.22", "kfp>=2.5,<2.17"],
        # Pipelines sent to Vertex AI. kfp has the schema of a spec.
        "vertex": ["google-cloud-aiplatform>=1.38", "kfp>=2.5,<2.17"],
        # Videos and manifests at s3://, az:// and http://; what fsspec reads by itself, such as hdfs://, needs no more.
        "remote": ["adlfs", "aiohttp", "s3fs"],
        # Artifacts of the pipeline at s3://, az:// and hdfs://: only TensorFlow 2.16 can.
        # Beam writes them with boto3.
        "remote-artifacts": ["boto3", "tensorflow-io; python_version < '3.11'"],
        # moto with flask: an S3 server here. selenium: the review page in a browser. statsmodels: a reference.
        # pympi-ling and webvtt-py read what a timeline is exported to.
        "test": [
            *("flask", "flask-cors", "moto[s3]", "pympi-ling", "pytest", "pytest-xdist", "ruff", "selenium"),
            *("statsmodels", "webvtt-py"),
        ],
    },
    entry_points={
        "console_scripts": ["vivit=pipeline.cli:command"],
        # Commands of the packages above pipeline/, which it may not import.
        "vivit.commands": [
            "ablate=benchmarks.commands.ablate",
            "bench=benchmarks.commands.bench",
            "compile=kubeflow.command",
            "parity=benchmarks.commands.parity",
            "submit=kubeflow.submit_command",
        ],
    },
)
