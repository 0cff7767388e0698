"""The layout holds: rooms and modules stay small, imports go down, names are the field's, dependencies are declared."""

import ast
import importlib
import json
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "realusersim_nb"
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

LEVELS = [
    {"records", "text", "files", "errors", "stats", "prompts"},
    {"parallel"},
    {"llm", "corpus"},
    {"style"},
    {"profiles"},
    {"simulators"},
    {"pt3", "agents", "gap"},
    {"runs"},
    {"plots", "widgets"},
    {"__main__"},
]
"""A room or module imports from the levels above it, and the small modules of the first level from each other."""
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

NOT_USED = set(
    "told found own said heard part parts store stores lapse lapses player players companion companions"
    " mistake mistakes bound bounds kernels".split()
)
"""Words that say nothing of what a value is, or that were private words for the field's terms."""


def name_module(path: Path) -> str:
    """``corpus.splits`` of a file; of a room's ``__init__`` the room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def list_imports(tree: ast.AST) -> list[str]:
    """The package's modules that a module imports, ``corpus.splits`` or ``records``, also inside functions."""
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "realusersim_nb":
            inner = node.module.partition(".")[2]
            imports += [inner] if inner else [alias.name for alias in node.names if alias.name in LEVEL]
        elif isinstance(node, ast.Import):
            imports += [a.name.partition(".")[2] for a in node.names if a.name.startswith("realusersim_nb.")]
    return imports


def test_package_has_few_entries_and_rooms_few_files():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 20
    rooms = {path.parent: [] for path in PACKAGE.rglob("*/*.py")}
    for path in PACKAGE.rglob("*/*.py"):
        rooms[path.parent] += [path] * (path.name != "__init__.py")
    assert {room.name: len(files) for room, files in rooms.items() if len(files) > 12} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_is_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300 and "fmt: skip" not in text and "fmt: off" not in text


def test_imports_go_down_and_only_agents_imports_tau2():
    assert {name_module(path).split(".")[0] for path in MODULES} - {"__init__"} == set(LEVEL)
    upward = [
        f"{module} imports {imported}"
        for path, tree in TREES.items()
        for module in [name_module(path)]
        for imported in list_imports(tree)
        for here, there in [(module.split(".")[0], imported.split(".")[0])]
        if here not in (there, "__init__") and (LEVEL[there] > LEVEL[here] or LEVEL[there] == LEVEL[here] > 0)
    ]
    assert upward == []
    users = {
        name_module(p).split(".")[0]
        for p in MODULES
        if re.search(r"^\s*(from|import) tau2", p.read_text(encoding="utf-8"), re.M)
    }
    assert users - {"widgets"} == {"agents"}  # widgets names tau2's types for type checkers only


def list_names(tree: ast.AST) -> set[str]:
    """Every name that a module gives: functions, classes, parameters, variables, attributes of ``self``, imported as."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.alias) and node.asname:
            names.add(node.asname)
    return names


def split_name(name: str) -> set[str]:
    """The words of an identifier: ``list_own_words`` and ``OwnWords`` have ``own``."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_no_name_is_one_of_the_words_that_are_not_used():
    cells = {path.name: "\n".join(read_code(path)) for path in NOTEBOOKS}
    trees = TREES | {name: compile_cells(code) for name, code in cells.items()}
    used = {(str(place), name) for place, tree in trees.items() for name in list_names(tree)}
    files = {(str(path), path.stem) for path in MODULES}
    assert sorted(pair for pair in used | files if split_name(pair[1]) & NOT_USED) == []


def read_code(path: Path) -> list[str]:
    """The code of a notebook: its cells, and the solutions of its exercises."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    solutions = [
        re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text, kind in sources if kind == "markdown"
    ]
    return [text for text, kind in sources if kind == "code"] + [
        code for codes in solutions for code in codes
    ]


def compile_cells(code: str) -> ast.AST:
    """The tree of code in which ``await`` stands alone."""
    return compile(code, "notebook", "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_takes_only_names_that_rooms_list(path):
    tree = compile_cells("\n".join(read_code(path)))
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "realusersim_nb":
            source = importlib.import_module(node.module)
            for alias in node.names:
                if node.module == "realusersim_nb":
                    modules[alias.asname or alias.name] = importlib.import_module(
                        f"realusersim_nb.{alias.name}"
                    )
                else:
                    assert hasattr(source, alias.name) or importlib.import_module(
                        f"{node.module}.{alias.name}"
                    )
    taken = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    }
    assert sorted((room, name) for room, name in taken if not hasattr(modules[room], name)) == []


def list_calls(tree: ast.AST) -> list[tuple[str, set[str | None]]]:
    """Every call of a function, of the same module or of another: its name and its keywords."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    modules = {path.stem for path in MODULES}
    return [
        (getattr(call.func, "id", None) or call.func.attr, {keyword.arg for keyword in call.keywords})
        for call in calls
        if isinstance(call.func, ast.Name)
        or (isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", None) in modules)
    ]


def test_seed_is_used_by_what_takes_one_and_always_given_to_it():
    functions = [
        node
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    seeded = {f.name: f for f in functions if "seed" in {arg.arg for arg in f.args.kwonlyargs}}
    uses = {name: {n.id for n in ast.walk(f) if isinstance(n, ast.Name)} for name, f in seeded.items()}
    assert [name for name in seeded if "seed" not in uses[name]] == []
    calls = [(path.stem, *call) for path, tree in TREES.items() for call in list_calls(tree)]
    assert [c for c in calls if c[1] in seeded and not c[2] & {"seed", None}] == []


def test_text_files_are_utf_8_everywhere():
    """Also where the linter cannot see that a value is a path."""
    calls = [
        (node, path) for path, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, ast.Call)
    ]
    opened = [
        f"{path.stem}: {ast.unparse(call)}"
        for call, path in calls
        if getattr(call.func, "attr", "") in ("open", "read_text", "write_text")
        and not re.search(r"encoding=|[(=]'[rwa][+]?b'|^open_archive", ast.unparse(call))
    ]
    assert opened == []


def test_every_room_lists_what_it_offers():
    for room in sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
        module = importlib.import_module(f"realusersim_nb.{room}")
        assert module.__doc__ and all(hasattr(module, name) for name in module.__all__), room


# --- dependencies --------------------------------------------------------------------------------


def test_what_is_imported_is_declared():
    extras = PROJECT["optional-dependencies"]
    runtime = [*PROJECT["dependencies"], *extras["agents"], *extras["embedded"], *extras["postgres"]]
    declared = {canonicalize_name(Requirement(line).name) for line in runtime}
    imported = {
        name.split(".")[0]
        for tree in TREES.values()
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    distributions = packages_distributions()
    third_party = {name: distributions[name] for name in imported if name in distributions}
    undeclared = {
        name: makers
        for name, makers in third_party.items()
        if name != "realusersim_nb" and not declared & {canonicalize_name(maker) for maker in makers}
    }
    assert undeclared == {}


def read_lock(name: str) -> dict[str, str]:
    """Version of each package that a lock pins."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
    )
    return {canonicalize_name(package): version for package, version in pins}


def test_locks_fit_the_project_file_and_users_get_no_tools_of_developers():
    users, developers = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["agents"], *extras["embedded"], *extras["build"]]
    for lock, lines in ((users, wanted), (users | developers, [*extras["dev"], *extras["postgres"]])):
        for requirement in map(Requirement, lines):
            assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), requirement
    assert not {"playwright", "pre-commit", "nbstripout", "psycopg"} & users.keys()
    assert not users.keys() & developers.keys()
