"""What can be wrong, as the user sees it.

RepurchaseError
├── ConfigurationError   a setting, a source file or an option is wrong
└── InputError           the data are missing, unreadable or not fit for the step
"""

import re


class RepurchaseError(Exception):
    """A problem that the user can mend; its message says what, where and how. Exit code 2."""


class ConfigurationError(RepurchaseError):
    """A setting, a source file or an option is wrong."""


class InputError(RepurchaseError):
    """The data are missing, unreadable or not fit for the step."""


def without_codes(text: str) -> str:
    """The first line of what Spark says, without its error class and SQLSTATE."""
    first = text.strip().split("\n")[0]
    return re.sub(r"^\[[\w.]+\] |\s*SQLSTATE: \w+.*", "", first).strip()
