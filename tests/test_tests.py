"""Tests of the tests: that each one is found, awaited and honest about time."""

from __future__ import annotations

import ast
import inspect
import unittest as pyunit
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from twisted.trial.unittest import SynchronousTestCase, TestCase

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = sorted((ROOT / "tests").rglob("*.py"))
# trial takes a module's or a class's attribute of such a name for a setting
SETTINGS: Final = {"skip", "suppress", "timeout", "todo"}
NAME_THE_REACTOR: Final = {"tap.py", "agent_tap.py", "cli/main.py"}


def modules() -> Iterator[ModuleType]:
    """Import every module below tests."""
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield import_module(".".join(parts).removesuffix(".__init__"))


def own_classes(module: ModuleType) -> Iterator[type]:
    """Yield the classes that a module itself defines."""
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield value


def test_methods(case: type) -> list[str]:
    """Return the names of a class's tests, inherited ones included."""
    return [name for name in dir(case) if name.startswith("test_")]


def calls(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class CollectionTests(SynchronousTestCase):
    """What trial makes of the files below tests."""

    def test_every_folder_is_a_package(self):
        folders = {path.parent for path in SOURCES}
        missing = [str(f) for f in folders if not (f / "__init__.py").exists()]
        self.assertEqual(missing, [])

    def test_every_async_test_is_awaited(self):
        """A synchronous case calls an async test and looks no further."""
        unawaited = [
            f"{case.__module__}.{case.__qualname__}.{name}"
            for module in modules()
            for case in own_classes(module)
            if issubclass(case, pyunit.TestCase) and not issubclass(case, TestCase)
            for name in test_methods(case)
            if inspect.iscoroutinefunction(getattr(case, name))
        ]
        self.assertEqual(unawaited, [])

    def test_every_test_is_found(self):
        """A class with tests is a case in a test module, or part of one that is."""
        found = [
            value
            for module in modules()
            if module.__name__.rpartition(".")[2].startswith("test_")
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, pyunit.TestCase)
        ]
        lost = [
            f"{case.__module__}.{case.__qualname__}"
            for module in modules()
            for case in own_classes(module)
            if test_methods(case) and not any(issubclass(f, case) for f in found)
        ]
        self.assertEqual(lost, [])

    def test_no_case_is_of_another_runner(self):
        """Trial gives its own cases their timeouts and their clean reactor."""
        foreign = [
            f"{module.__name__}.{name}"
            for module in modules()
            for name, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, pyunit.TestCase)
            and not issubclass(value, SynchronousTestCase)
        ]
        self.assertEqual(foreign, [])

    def test_no_import_is_taken_for_a_setting(self):
        taken = [
            f"{module.__name__}.{name}"
            for module in modules()
            for name in SETTINGS & vars(module).keys()
            if callable(getattr(module, name))
        ]
        self.assertEqual(taken, [])

    def test_no_class_defines_a_test_twice(self):
        """The second definition would silently replace the first."""
        twice = [
            f"{path.relative_to(ROOT)}: {node.name}.{name}"
            for path in SOURCES
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
            for name in repeated(node)
        ]
        self.assertEqual(twice, [])


def repeated(node: ast.ClassDef) -> set[str]:
    """Return the names of tests that a class defines more than once."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [item.name for item in node.body if isinstance(item, functions)]
    return {n for n in names if n.startswith("test_") and names.count(n) > 1}


class HonestyTests(SynchronousTestCase):
    """What neither tests nor product may do."""

    def test_no_test_sleeps(self):
        sleepers = [
            str(path.relative_to(ROOT))
            for path in SOURCES
            if {"time.sleep", "sleep"} & set(calls(ast.parse(path.read_text())))
        ]
        self.assertEqual(sleepers, [])

    def test_product_prints_nothing(self):
        printers = [
            str(path.relative_to(ROOT))
            for path in (ROOT / "gateway").rglob("*.py")
            if "print" in calls(ast.parse(path.read_text()))
        ]
        self.assertEqual(printers, [])

    def test_reactor_is_named_by_the_entry_points_alone(self):
        named = {
            str(path.relative_to(ROOT / "gateway"))
            for path in (ROOT / "gateway").rglob("*.py")
            if "twisted.internet.reactor" in imports(ast.parse(path.read_text()))
        }
        self.assertEqual(named - NAME_THE_REACTOR, set())
