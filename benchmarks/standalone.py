"""A standalone Spark cluster on this machine, for as long as somebody needs it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyspark

SPARK = Path(pyspark.__file__).parent
ENVIRONMENT = {
    "SPARK_HOME": str(SPARK),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_PYTHON": sys.executable,
}
SECONDS_TO_START = 120


@contextmanager
def standalone(folder: Path, workers: int = 2, memory: str = "1g") -> Iterator[str]:
    """The address of a master with so many workers of one core each; `folder` holds their output.

    Raises RuntimeError if they do not start. They are ended at the end, and what they started.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"spark://127.0.0.1:{port}"
    here = ["--host", "127.0.0.1", "--webui-port", "0"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_daemon(folder, "master.Master", [*here, "--port", str(port)]))
        _wait_for(folder / "master.Master.0", "I have been elected leader")
        for number in range(workers):
            size = ["--cores", "1", "--memory", memory]
            size += ["--work-dir", str(folder / f"worker{number + 1}")]
            started.append(_daemon(folder, "worker.Worker", [*here, *size, address], number))
            _wait_for(folder / f"worker.Worker.{number}", "Successfully registered with master")
        yield address
    finally:
        for process in reversed(started):
            with suppress(psutil.NoSuchProcess):
                for member in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):  # it has ended since
                        member.kill()
            process.kill()
            process.wait()


def _daemon(
    folder: Path, name: str, options: list[str], number: int = 0
) -> subprocess.Popen[bytes]:
    command = [str(SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *options]
    with (folder / f"{name}.{number}").open("wb") as output:
        return subprocess.Popen(
            command, cwd=folder, env={**os.environ, **ENVIRONMENT}, stdout=output, stderr=output
        )


def _wait_for(output: Path, words: str) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while words not in output.read_text(errors="replace"):
        if time.monotonic() > until:
            raise RuntimeError(f"{output.name} does not start:\n{output.read_text()[-2000:]}")
        time.sleep(0.2)
