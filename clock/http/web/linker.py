"""Joins the modules of a page into one classic script, so that a document needs no further request to run.

A module keeps to the house style: an import is one line, ``import { a, b } from "/web/x.js";`` or
``import * as x from "/web/x.js";``; an export is a declaration of a constant, a function or a class, whose value never
changes: importers get values, not live bindings.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parent

IMPORT = re.compile(r'^import (?:\* as (\w+)|\{ ([\w, ]+) \}) from "/web/([\w-]+\.js)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:const|(?:async )?function\*?|class) (\w+))", re.MULTILINE)
STRAY = re.compile(r"^(?:import|export)\b|\bimport\(|</script|<!--", re.MULTILINE)


def needed(*names: str, folder: Path = FOLDER) -> list[str]:
    """These modules and all that they import, each after those that it imports. A circle is a ``ValueError``."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"modules import each other: {' → '.join((*above, name))}")
        if name in order:
            return
        for found in IMPORT.finditer((folder / name).read_text("utf-8")):
            visit(found[3], (*above, name))
        order.append(name)

    for name in names:
        visit(name, ())
    return order


def linked(*names: str, folder: Path = FOLDER) -> str:
    """One script that runs these modules in their order. A module out of style, and the import of what is not exported,
    is a ``ValueError`` that names it."""
    parts, exported = [], {}
    for name in needed(*names, folder=folder):
        text = (folder / name).read_text("utf-8")
        exported[name] = EXPORT.findall(text)
        for _, some, source in IMPORT.findall(text):
            for missing in set(filter(None, some.split(", "))) - set(exported[source]):
                raise ValueError(f"{name}: {source} has no {missing}")
        parts.append(_module(name, text, exported[name]))
    return "".join(['(() => {\n"use strict";\n', *parts, "})();\n"])


def _module(name: str, text: str, exports: list[str]) -> str:
    """A function's result: an object of the module's exports, under the module's name."""
    body = EXPORT.sub("", IMPORT.sub(_constant, text))
    if stray := STRAY.search(body):
        raise ValueError(f"{name}: {stray[0]!r} is not in the style of the house")
    return f"const {_object(name)} = (() => {{\n{body}\nreturn {{ {', '.join(exports)} }};\n}})();\n"


def _constant(found: re.Match[str]) -> str:
    whole, some, name = found.groups()
    return f"const {whole or f'{{ {some} }}'} = {_object(name)};"


def _object(name: str) -> str:
    return name.removesuffix(".js").replace("-", "_") + "$"
