"""Where the scripts, the statements and the manual are, installed or in a checkout."""

from importlib.resources import files
from pathlib import Path


def folder(name: str) -> Path:
    """``lua``, ``sql`` or ``docs``: inside the installed package, or beside it in a checkout."""
    inside = Path(str(files("clock"))) / name
    return inside if inside.is_dir() else Path(str(files("clock"))).parent / name
