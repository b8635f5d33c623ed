"""Before anything is installed: is there a Python 3.11 to 3.13, and a Java 17 or 21?"""

import os
import re
import shutil
import subprocess
import sys

JAVA = "apt-get install openjdk-17-jre-headless, or brew install openjdk@17"


def problem() -> str | None:
    """What is missing and how to get it, in one line; None if all is there."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = sys.version.split()[0]
        return f"Python 3.11 to 3.13 is needed, this is {found}: say make PYTHON=python3.11"
    home = os.environ.get("JAVA_HOME")  # Spark looks there first
    java = shutil.which(os.path.join(home, "bin", "java") if home else "java")
    if java is None:
        where = f" in JAVA_HOME={home}" if home else ""
        return f"Java 17 or 21 is needed, and there is none{where}: {JAVA}"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or version[1] not in ("17", "21"):
        found = said.splitlines()[0] if said else "unknown"
        return f"Java 17 or 21 is needed, {java} is {found}: {JAVA} and make it JAVA_HOME"
    return None


if __name__ == "__main__":
    sys.exit(problem())
