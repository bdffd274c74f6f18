"""Which sources of a library something was tested against, and whether those are installed."""

import hashlib
import inspect
from collections.abc import Mapping
from importlib import import_module, metadata
from typing import Any


def source_hash(name: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of the source of `module:Class.function`."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "fun", found)  # mode wraps a background task of a service
    return hashlib.sha256(inspect.getsource(found).encode()).hexdigest()[:16]


def differences(versions: Mapping[str, str], sources: Mapping[str, str]) -> list[str]:
    """Return a line for every package and every function that is not what was tested."""
    wrong = [
        f"{package} is {found}, tested with {wanted}"
        for package, wanted in versions.items()
        if (found := metadata.version(package)) != wanted
    ]
    for name, wanted in sources.items():
        try:
            found = source_hash(name)
        except (ImportError, AttributeError, OSError, TypeError) as error:
            found = repr(error)
        if found != wanted:
            wrong.append(f"source of {name} is {found}, tested with {wanted}")
    return wrong
