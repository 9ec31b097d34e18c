"""Packaging of the ViViT pipeline: the five packages, the extras and the ``vivit`` command."""

from setuptools import find_packages, setup

PACKAGES = ("schemas", "models", "components", "pipeline", "kubeflow")

setup(
    name="vivit-tfx",
    version="0.1.0",
    description="A production pipeline for video classification with ViViT on TensorFlow Extended",
    python_requires=">=3.10,<3.12",
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={"schemas": ["*.pbtxt"], "kubeflow": ["Dockerfile"], "pipeline": ["*.html"]},
    install_requires=[
        "apache-beam>=2.47",
        "av>=17",
        "google-crc32c",
        "jinja2",
        "keras>=3.3,<4",
        "ml-dtypes",
        "numpy",
        "pillow",
        "psutil",
        "rich",
        "scikit-learn",
        "scipy",
        # libjpeg-turbo without a copy: the same JPEG in four fifths of Pillow's time, which is what ingest waits for.
        "simplejpeg",
        "tensorflow>=2.16",
        "tensorflow-model-analysis>=0.47",
        "tensorflow-transform>=1.16",
        "tfx>=1.16,<1.22",
    ],
    extras_require={
        # The check of converted Hugging Face checkpoints.
        "huggingface": ["torch", "transformers"],
        # Pipelines compiled for Kubeflow.
        "kubeflow": ["tfx[kfp]>=1.16,<1.22"],
        # s3://, az:// and hdfs:// paths.
        "remote": ["tensorflow-io"],
        "test": ["pytest", "ruff"],
    },
    entry_points={
        "console_scripts": ["vivit=pipeline.cli:main"],
        # Commands of the packages above pipeline/, which it may not import.
        "vivit.commands": ["compile=kubeflow.command"],
    },
)
