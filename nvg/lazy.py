"""What is imported late: public names of a package (PEP 562), functions that a user names."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from nvg.errors import InputError, first_line


def lazy_face(
    package: str, homes: dict[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package; `homes`: the module of each name."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    names = sorted(homes)
    return get, lambda: names, names


def own_function(name: str, kind: str) -> Any:
    """What a user's `module:function` names, of an installed module or the current folder.

    InputError, which calls it a `kind` of thing, where it cannot be imported.
    """
    module, _, function = name.partition(":")
    if (here := os.getcwd()) not in sys.path:  # an installed command looks beside itself alone
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        reason = f"there is no module {error.name} in {here}, and none is installed"
    except AttributeError as error:
        reason = f"{error.name} is not in it" if error.name == function else first_line(error)
    except Exception as error:  # a module may raise anything
        reason = first_line(error)
    raise InputError(f"{kind} {name!r} cannot be imported: {reason}")
