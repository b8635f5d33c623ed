"""What can be wrong, as the user sees it.

RepurchaseError
├── ConfigurationError   a setting, a source file or an option is wrong
├── InputError           the data are missing, unreadable or not fit for the step
└── TryAgainError        another command was in the way
"""

import re


class RepurchaseError(Exception):
    """A problem that the user can mend; its message says what, where and how. Exit code 2, but of
    a TryAgainError 1.
    """


class ConfigurationError(RepurchaseError):
    """A setting, a source file or an option is wrong."""


class InputError(RepurchaseError):
    """The data are missing, unreadable or not fit for the step."""


class TryAgainError(RepurchaseError):
    """Another command was in the way; the same one, run again, need not fail."""


def without_codes(text: str) -> str:
    """The first line of what Spark or another says, without Spark's error class and SQLSTATE."""
    first = text.strip().split("\n")[0]
    return re.sub(r"^\[[\w.]+\] |\s*SQLSTATE: \w+.*", "", first).strip()
