"""The arrows of docs/architecture.md, read off the source: who may import whom, and who may ask
for the time. Parses only; imports nothing that it judges.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import millstream
from millstream.core import lifecycle

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PAGE = (ROOT / "docs" / "architecture.md").read_text()

PURE = ("millstream.core", "millstream.wire")
LEAVES = {"millstream.events", "millstream.policy", "millstream.errors"}
ADAPTERS = ("millstream.stores", "millstream.blob_stores")
OUTSIDE = {"asyncio", "os", "random", "socket", "subprocess", "threading", "time", "uuid"}
ABOVE_ENGINE = (
    "millstream.server",
    "millstream.cli",
    "millstream.client",
    "millstream.wire",
    "millstream.settings",
    "millstream.wiring",
    *ADAPTERS,
)
CHANCE = {"random", "secrets", "uuid"}
CLOCKS = {"time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns"}
TIMED = {
    ("millstream.engine.executor", "perf_counter"),  # a default argument, for telemetry alone
    ("millstream.engine.process_child", "monotonic"),  # carries the parent's `now` on, in a child
}
"""The clocks in the engine."""


@dataclass(frozen=True)
class Import:
    """`target` is a module, or a name in one where that is no module of ours. `late` says that
    the import stands in a function, `typing` that it is made for type checkers alone."""

    module: str
    target: str
    line: int
    late: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Source:
    """One tree of source files: each module's syntax, and all imports."""

    trees: dict[str, ast.Module]
    imports: list[Import]

    @classmethod
    def read(cls, folder: Path) -> "Source":
        trees = {_dotted(path, folder): ast.parse(path.read_text()) for path in _files(folder)}
        packages = {_dotted(p, folder) for p in _files(folder) if p.name == "__init__.py"}
        found = [
            each
            for module, tree in trees.items()
            for each in _imports(module, module in packages, tree, trees)
        ]
        return cls(trees, found)

    def of(self, *rooms: str) -> list[Import]:
        """The imports made in some rooms."""
        return [each for each in self.imports if within(each.module, *rooms)]

    def inside(self, *rooms: str) -> dict[str, ast.Module]:
        return {name: tree for name, tree in self.trees.items() if within(name, *rooms)}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _dotted(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, *rooms: str) -> bool:
    """Whether a dotted name is one of these rooms or stands in one."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def ours(name: str) -> bool:
    return within(name, "millstream", "millstream_apps")


def _imports(
    module: str, package: bool, tree: ast.Module, known: dict[str, ast.Module]
) -> Iterator[Import]:
    def walk(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in targets(node):
                yield Import(module, target, node.lineno, late, typing)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from walk(child, late, True)
            for child in node.orelse:
                yield from walk(child, late, typing)
            return
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, late, typing)

    def targets(node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        base = node.module or ""
        if node.level:
            levels = module.split(".")[: None if package else -1]
            levels = levels[: len(levels) - node.level + 1]
            base = ".".join([*levels, *filter(None, [node.module])])
        names = [f"{base}.{alias.name}" for alias in node.names]
        return [name if name in known else base for name in names]

    return walk(tree, late=False, typing=False)


# --- the rules: each yields what breaks it -------------------------------------------------------


def pure_rooms_stay_pure(source: Source) -> Iterator[str]:
    """core and wire: no I/O, no clock, no chance, no await; of ours only the leaves and itself."""
    for room in PURE:
        for each in source.of(room):
            if ours(each.target) and not within(each.target, room, *LEAVES):
                yield str(each)
            if each.target.partition(".")[0] in OUTSIDE:
                yield str(each)
    for name, tree in source.inside(*PURE).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
                yield f"{name}:{node.lineno} is asynchronous"


def core_stands_on_msgspec_alone(source: Source) -> Iterator[str]:
    for each in source.of("millstream.core"):
        top = each.target.partition(".")[0]
        if not ours(each.target) and top != "msgspec" and top not in sys.stdlib_module_names:
            yield str(each)


def the_engine_knows_no_surface(source: Source) -> Iterator[str]:
    for each in source.of("millstream.engine"):
        if within(each.target, *ABOVE_ENGINE):
            yield str(each)


def adapters_are_named_by_wiring_alone(source: Source) -> Iterator[str]:
    for each in source.imports:
        if within(each.target, *ADAPTERS) and not within(
            each.module, "millstream.wiring", *ADAPTERS
        ):
            yield str(each)


def the_client_stands_alone(source: Source) -> Iterator[str]:
    mine = ("millstream.client", "millstream.events", "millstream.errors")
    for each in source.of("millstream.client"):
        if ours(each.target) and not within(each.target, *mine):
            yield str(each)


def apps_use_public_names(source: Source) -> Iterator[str]:
    for name, tree in source.inside("millstream_apps").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names if within(a.name, "millstream")]
                yield from (f"{name}:{node.lineno} imports {each} whole" for each in names)
            elif isinstance(node, ast.ImportFrom) and within(node.module or "", "millstream"):
                hidden = [a.name for a in node.names if a.name not in millstream.__all__]
                if node.module != "millstream":
                    yield f"{name}:{node.lineno} imports from {node.module}"
                yield from (f"{name}:{node.lineno} imports {each}" for each in hidden)


def the_library_knows_no_app(source: Source) -> Iterator[str]:
    for each in source.of("millstream"):
        if within(each.target, "millstream_apps"):
            yield str(each)


def no_circles(source: Source) -> Iterator[str]:
    """Late imports count too: a circle that is walked later is one all the same."""
    edges: dict[str, set[str]] = {name: set() for name in source.trees}
    for each in source.imports:
        if each.target in edges and each.target != each.module and not each.typing:
            edges[each.module].add(each.target)
    open_: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in open_:
            yield " -> ".join([*open_[open_.index(name) :], name])
            return
        if name in done:
            return
        open_.append(name)
        for target in sorted(edges[name]):
            yield from visit(target)
        done.add(open_.pop())

    for name in sorted(edges):
        yield from visit(name)


def time_and_chance_come_in(source: Source) -> Iterator[str]:
    """core and engine read no clock and draw nothing: both are given to them."""
    for each in source.of("millstream.core", "millstream.engine"):
        if each.target in CHANCE:
            yield str(each)
    for name, tree in source.inside("millstream.core", "millstream.engine").items():
        for clock, line in _clocks(tree):
            if (name, clock) not in TIMED:
                yield f"{name}:{line} reads time.{clock}"


def _clocks(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Mentions of a clock of `time`, called or handed on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from ((a.name, node.lineno) for a in node.names if a.name in CLOCKS)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "time"
            and node.attr in CLOCKS
        ):
            yield node.attr, node.lineno


RULES = (
    pure_rooms_stay_pure,
    core_stands_on_msgspec_alone,
    the_engine_knows_no_surface,
    adapters_are_named_by_wiring_alone,
    the_client_stands_alone,
    apps_use_public_names,
    the_library_knows_no_app,
    no_circles,
    time_and_chance_come_in,
)


@pytest.fixture(scope="module")
def source():
    return Source.read(SRC)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule, source):
    assert list(rule(source)) == []


def test_no_exception_is_listed_in_vain(source, monkeypatch):
    monkeypatch.setattr(f"{__name__}.TIMED", set())
    assert {said.partition(":")[0] for said in time_and_chance_come_in(source)} == {
        "millstream.engine.executor",
        "millstream.engine.process_child",
    }


TYPING_ONLY = {
    "millstream",  # the public names that are loaded when asked for
    "millstream.system",
    "millstream_apps.appraise.commands",  # the command line waits for no catalogue
    "millstream_apps.nodeflow.commands",  # nor for a suite
    *(f"millstream.cli.{name}" for name in ("follow", "graph", "loading", "places", "serve")),
}
"""Modules with imports for type checkers alone."""


def test_imports_for_type_checkers_alone_are_listed(source):
    assert {each.module for each in source.imports if each.typing} == TYPING_ONLY


def test_the_parser_sees_the_whole_tree(source):
    assert {"millstream", "millstream_apps", "millstream.core.join"} <= source.trees.keys()
    assert any(each.late for each in source.imports)
    assert "millstream.core.graph" in {each.target for each in source.of("millstream.core.join")}


SEEDS = [
    (pure_rooms_stay_pure, "core/a.py", "import time"),
    (pure_rooms_stay_pure, "core/a.py", "def f():\n    from os.path import join"),
    (pure_rooms_stay_pure, "wire/a.py", "async def f(): ..."),
    (pure_rooms_stay_pure, "wire/a.py", "from millstream.core import graph"),
    (pure_rooms_stay_pure, "core/a.py", "from millstream import store"),
    (pure_rooms_stay_pure, "core/a.py", "from ..engine import journal"),
    (core_stands_on_msgspec_alone, "core/a.py", "import pydantic"),
    (the_engine_knows_no_surface, "engine/a.py", "from millstream.wire import sse"),
    (the_engine_knows_no_surface, "engine/a.py", "import millstream.stores.memory"),
    (adapters_are_named_by_wiring_alone, "server/a.py", "from millstream.stores import memory"),
    (adapters_are_named_by_wiring_alone, "a.py", "from .blob_stores.disk import DiskBlobs"),
    (the_client_stands_alone, "client/a.py", "from millstream.core.outcome import Document"),
    (apps_use_public_names, "../millstream_apps/a.py", "from millstream.pipeline import Pipeline"),
    (apps_use_public_names, "../millstream_apps/a.py", "from millstream import events"),
    (apps_use_public_names, "../millstream_apps/a.py", "import millstream"),
    (the_library_knows_no_app, "cli/a.py", "def f():\n    import millstream_apps.decklists"),
    (no_circles, "a.py", "def f():\n    from millstream import a_is_read_by_b as b"),
    (time_and_chance_come_in, "engine/a.py", "import time\nx = time.monotonic()"),
    (time_and_chance_come_in, "engine/a.py", "from time import time"),
    (time_and_chance_come_in, "engine/a.py", "import random"),
]


@pytest.mark.parametrize(("rule", "file", "text"), SEEDS)
def test_a_seeded_violation_is_found(rule, file, text, tmp_path):
    whole = {
        "__init__.py": "",
        "a_is_read_by_b.py": "from millstream.a import f",
        "core/graph.py": "",
        "engine/journal.py": "from millstream.core import graph",
        "stores/memory.py": "",
        "wire/sse.py": "",
        "store.py": "",
        "wiring.py": "from millstream.stores import memory",
        "../millstream_apps/good.py": "from millstream import Pipeline",
    }
    for name, content in whole.items():
        _write(tmp_path / "millstream" / name, content)
    assert [said for each in RULES for said in each(Source.read(tmp_path))] == []
    _write(tmp_path / "millstream" / file, text)
    assert list(rule(Source.read(tmp_path)))


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


# --- the page says what is -----------------------------------------------------------------------


def test_the_state_diagram_is_the_table():
    (drawn,) = re.findall(r"```mermaid\n(stateDiagram.*?)\n```", PAGE, re.DOTALL)
    assert drawn == lifecycle.mermaid()


def rooms() -> Iterator[str]:
    """Every file that the room list names, relative to src/."""
    listed = PAGE.partition("## Rooms and arrows")[2].partition("```\n")[2].partition("```")[0]
    folder = ""
    for line in listed.splitlines():
        package = line.split()[0]
        if package.endswith("/"):
            folder = "millstream/" + package if line.startswith(" ") else package
        elif line.startswith("  ") and not line.startswith("    "):
            folder = "millstream/"
        at = folder if folder.startswith("millstream") else ""
        for word in line.split():
            if word.endswith("/"):  # a second room in the same line
                at = word.removeprefix("src/") if word.startswith("src/") else f"millstream/{word}"
                yield at
            elif word.endswith(".py"):
                in_a_room = at if word not in ("store.py", "blobs.py") else "millstream/"
                yield f"{in_a_room}{word}"


def test_every_file_of_the_room_list_is_there():
    named = list(rooms())
    assert len(named) > 40
    assert [name for name in named if not (SRC / name).exists()] == []
