"""`module:name` on the command line -> the object it names. In the command line's room.

A module that cannot be imported is its author's to mend: the place and the reason on one line.
"""

import importlib
import sys
import traceback
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from millstream.errors import MillstreamError, SettingsError, did_you_mean

if TYPE_CHECKING:
    from millstream.server.app import Millstream

DEFAULT = "millstream_apps:app"


def load(target: str) -> Any:
    """What `module:name` names (`app` where no name is given). Raises SettingsError."""
    module_name, _, name = target.partition(":")
    name = name or "app"
    module = _module(module_name)
    if not hasattr(module, name):
        near = did_you_mean(name, vars(module))
        raise SettingsError(f"module {module_name!r} has no {name!r}{near}")
    return getattr(module, name)


def _module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` would: modules of the current folder
    try:
        return importlib.import_module(name)
    except MillstreamError:
        raise  # a pipeline that cannot be built says so itself
    except Exception as error:
        if _is_missing(name, error):
            raise SettingsError(
                f"there is no module {name!r} here; give module:app, as in `examples.hello:app`"
            ) from error
        raise SettingsError(f"{name} cannot be imported: {_reason(error)}") from error


def _is_missing(name: str, error: Exception) -> bool:
    """Whether it is this module that is not there, and not one that it imports."""
    if not name or name.startswith("."):
        return True
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _reason(error: Exception) -> str:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return said  # says its file and line itself
    frames = traceback.extract_tb(error.__traceback__)
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said


def load_app(target: str, settings: Mapping[str, Any]) -> "Millstream":
    """An application with these settings over its own, environment and file. A pipeline or a
    system is made into one."""
    from millstream import Millstream, Pipeline, Settings, System

    found = load(target)
    if isinstance(found, Millstream):
        own = found.settings.model_dump(exclude_unset=True)
        given = {name: value for name, value in settings.items() if value is not None}
        found.settings = Settings.load(**(own | given))
        return found
    if isinstance(found, Pipeline | System):
        return Millstream(found, settings=Settings.load(**settings))
    raise SettingsError(
        f"{target!r} is a {type(found).__name__}; name a Millstream, a Pipeline or a System"
    )
