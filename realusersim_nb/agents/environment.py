"""tau2-bench's domains: tasks, their environments, and what should have become of them.

The databases of airline and retail are large. Each is read once; runs share its records, and a run
that asks for one gets a copy of its own, so that none sees what another changed.
"""

import copy
from functools import cache, partial
from typing import Any, Literal, get_args

import pandas as pd
from tau2.data_model.tasks import Task
from tau2.environment.db import DB
from tau2.environment.environment import Environment
from tau2.environment.toolkit import ToolType
from tau2.registry import registry

from realusersim_nb.errors import InputError

Domain = Literal["mock", "airline", "retail", "telecom"]
LARGE: tuple[Domain, ...] = ("airline", "retail")
NOTHING = "(nothing)"


# --- tasks -------------------------------------------------------------------------------------


def load_tasks(domain: Domain, n_tasks: int | None = None, *, seed: int = 0) -> list[Task]:
    """A seeded draw of a domain's base tasks (None: all). ValueError for an unknown domain."""
    if domain not in get_args(Domain):
        raise InputError(f"domain {domain!r} does not exist: expected one of {', '.join(get_args(Domain))}.")
    split = None if domain == "mock" else "base"
    tasks = pd.Series(registry.get_tasks_loader(domain)(split), dtype=object)
    return tasks.sample(min(n_tasks or len(tasks), len(tasks)), random_state=seed).sort_index().tolist()


@cache
def list_state_changing_tools(domain: Domain) -> frozenset[str]:
    """The tools of a domain that change something or end the case; the others only look things up."""
    environment = make_environment(domain)
    kits = [kit for kit in (environment.tools, environment.user_tools) if kit]
    looks = (ToolType.READ, ToolType.THINK)
    kinds = [(name, kit.tool_type(name)) for kit in kits for name in kit.get_tools()]
    return frozenset(name for name, kind in kinds if kind not in looks and name != "calculate")


# --- environments ------------------------------------------------------------------------------


class SharedRecords(dict):
    """Records of a database by key. One that is asked for by its key is copied first; who only looks through all
    of them (as tau2's searches do) sees the shared ones.
    """

    def __init__(self, records: dict):
        super().__init__(records)
        self.own: set = set()

    def __getitem__(self, key: Any) -> Any:
        """A record that may be changed."""
        if key not in self.own and key in self:
            self[key] = copy.deepcopy(super().__getitem__(key))
        return super().__getitem__(key)

    def __setitem__(self, key: Any, record: Any) -> None:
        """Put a record of one's own in its place."""
        self.own.add(key)
        super().__setitem__(key, record)


@cache
def read_database(domain: Domain) -> DB:
    """The database of a domain as tau2 ships it; never to be changed."""
    return registry.get_env_constructor(domain)().tools.db


def make_environment(domain: Domain, solo_mode: bool = False) -> Environment:
    """A fresh environment of a domain."""
    make = registry.get_env_constructor(domain)
    if domain not in LARGE:
        return make(solo_mode=solo_mode)
    database = read_database(domain)
    shared = {name: SharedRecords(getattr(database, name)) for name in type(database).model_fields}
    return make(db=database.model_copy(update=shared), solo_mode=solo_mode)


def name_shared(domain: Domain) -> str:
    """What tau2's registry calls a domain whose environments are made here; its evaluator makes two a run."""
    return f"{domain}, shared"


for _domain in get_args(Domain):
    if name_shared(_domain) not in registry.get_domains():  # a notebook may load this module again
        registry.register_domain(partial(make_environment, _domain), name_shared(_domain))


# --- what should have become of it -------------------------------------------------------------


def play_gold(domain: Domain, task: Task) -> Environment:
    """The environment after a task's gold actions; one that fails changes nothing, as in tau2's evaluator."""
    environment, start, criteria = make_environment(domain), task.initial_state, task.evaluation_criteria
    environment.set_state(
        start and start.initialization_data,
        start and start.initialization_actions,
        (start and start.message_history) or [],
    )
    for action in (criteria and criteria.actions) or []:
        try:
            environment.make_tool_call(action.name, requestor=action.requestor, **action.arguments)
        except Exception:
            continue
    return environment


def compare_databases(expected: Environment, found: Environment) -> list[str]:
    """Where two environments differ, one line a value: ``orders.#W1.status: 'cancelled' expected, 'pending' found``."""
    pairs = [(expected.tools, found.tools), (expected.user_tools, found.user_tools)]
    return [line for a, b in pairs if a and a.db for line in list_changes(dump(a.db, b.db), dump(b.db, a.db))]


def dump(database: DB, other: DB) -> dict:
    """The parts of a database that are not as in another."""
    return {
        name: getattr(database, name)
        for name in type(database).model_fields
        if getattr(database, name) != getattr(other, name)
    }


def list_changes(expected: Any, found: Any, path: str = "") -> list[str]:
    """The same for values, one inside the other."""
    expected, found = (
        vars(value) if hasattr(value, "model_fields_set") else value for value in (expected, found)
    )
    if expected == found:
        return []
    if isinstance(expected, list) and isinstance(found, list):
        expected, found = dict(enumerate(expected)), dict(enumerate(found))
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = dict.fromkeys([*expected, *found])
        deeper = [
            (dict.get(expected, k, NOTHING), dict.get(found, k, NOTHING), f"{path}.{k}".lstrip("."))
            for k in keys
        ]
        return [line for item in deeper for line in list_changes(*item)]
    return [f"{path}: {expected!r} expected, {found!r} found"]
