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
    python_requires=">=3.11,<3.14",
    packages=[
        *("conf", "lake", "features", "models", "serving", "serving.api", "jobs"),
        *(f"serving.dashboard{part}" for part in ("", ".figures", ".views")),
    ],
    package_data={
        "conf": ["*.yml", "*.properties", "sources/*.yml"],
        "serving": ["*.j2", "views/*.sql"],
        "serving.dashboard": ["icon.png"],
    },
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
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "holidays>=0.60,<1",
        "tzdata>=2025.1",
    ],
    extras_require={
        "connect": ["pyspark[connect]==4.2.0"],
        "lightgbm": ["lightgbm>=4.3,<5"],
        "xgboost": ["xgboost>=3.0,<4", "scikit-learn>=1.4"],
        "catboost": ["catboost>=1.2.8,<2"],
        "serve": [
            "fastapi>=0.115,<1",
            "fastapi-offline>=1.7,<2",
            "uvicorn[standard]>=0.34,<1",
            "onnx>=1.18,<2",
            "onnxruntime>=1.22,<2",
            "duckdb>=1.2,<2",
            "orjson>=3.10,<4",
            "prometheus-client>=0.21",
            "structlog>=25",
            "limits>=5,<6",
        ],
        "dashboard": [
            "streamlit>=1.67,<2",
            "altair>=5.5,<7",
            "duckdb>=1.2,<2",
            "onnx>=1.18,<2",
            "onnxruntime>=1.22,<2",
        ],
        "mlflow": ["mlflow>=3.1,<4"],
    },
    entry_points={"console_scripts": ["repurchase=jobs.cli:app"]},
)
