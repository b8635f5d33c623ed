"""What is installed: the packages by name, their dependencies, and the command `repurchase`."""

from pathlib import Path

from setuptools import setup

setup(
    name="repurchase",
    version="0.1.0",
    description="From a transaction log to 30-day repeat-purchase scores, on Spark and Delta",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=["conf", "lake", "features", "models", "jobs"],
    package_data={"conf": ["*.yml", "*.properties", "sources/*.yml"]},
    install_requires=[
        "pyspark==4.2.0",
        "delta-spark==4.4.0",
        "deltalake>=1.2,<2",
        "pandas>=2.2,<3",
        "pyarrow>=18",
        "numpy>=1.26",
        "scipy>=1.13",
        "pydantic>=2.10,<3",
        "omegaconf>=2.3,<3",
        "typer>=0.15,<1",
        "rich>=13.9",
        "holidays>=0.60,<1",
        "tzdata>=2025.1",
    ],
    extras_require={"boosting": ["lightgbm>=4.3,<5"]},
    entry_points={"console_scripts": ["repurchase=jobs.cli:app"]},
)
