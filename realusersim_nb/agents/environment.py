"""tau2-bench's domains: tasks, environments, and the state that a task's gold actions lead to.

The databases of airline and retail are large. Each is read once; runs share its records, and a record
that a run asks for is copied first, so that no run sees what another changed.
"""

import copy
from contextlib import suppress
from functools import cache, partial
from typing import Any, get_args

import pandas as pd

from realusersim_nb.agents.scores import Domain
from realusersim_nb.errors import InputError, MissingExtraError

try:  # the other modules of this room that need tau2-bench import this one first
    from deepdiff import DeepDiff
    from deepdiff.helper import notpresent
    from deepdiff.operator import BaseOperator
    from tau2.data_model.tasks import Task
    from tau2.environment.db import DB
    from tau2.environment.environment import Environment
    from tau2.environment.toolkit import ToolType
    from tau2.registry import registry
except ImportError as error:
    raise MissingExtraError("tau2-bench", extra="agents") from error


def load_tasks(
    domain: Domain, n_tasks: int | None = None, *, spoken_only: bool = False, seed: int = 0
) -> list[Task]:
    """A seeded draw of a domain's base tasks (None: all), of all or of those in which the user has to speak.

    InputError for an unknown domain.
    """
    if domain not in get_args(Domain):
        raise InputError(f"domain {domain!r} does not exist: expected one of {', '.join(get_args(Domain))}.")
    split = None if domain == "mock" else "base"
    known = registry.get_tasks_loader(domain)(split)
    tasks = pd.Series([task for task in known if not spoken_only or is_spoken(task)], dtype=object)
    return tasks.sample(min(n_tasks or len(tasks), len(tasks)), random_state=seed).sort_index().tolist()


def is_spoken(task: Task) -> bool:
    """Whether the manner of a task's user can act: the user opens the conversation, wants something done, and
    so speaks at least twice.

    Where messages of the past are given, all has been asked for; where no action is gold, silence succeeds.
    """
    start, criteria = task.initial_state, task.evaluation_criteria
    return not (start and start.message_history) and bool(criteria and criteria.actions)


@cache
def list_state_changing_tools(domain: Domain) -> frozenset[str]:
    """The tools of a domain that change something or end the case; the others only read."""
    environment = make_environment(domain)
    kits = [kit for kit in (environment.tools, environment.user_tools) if kit]
    types = {name: kit.tool_type(name) for kit in kits for name in kit.get_tools() if name != "calculate"}
    return frozenset(name for name, kind in types.items() if kind not in (ToolType.READ, ToolType.THINK))


class SharedRecords(dict):
    """Records of a database by key. A record asked for by its key is copied first; an iteration over all of
    them (as in tau2's searches) gives the shared ones.
    """

    def __init__(self, records: dict):
        super().__init__(records)
        self.copied: set = set()

    def __getitem__(self, key: Any) -> Any:
        if key not in self.copied and key in self:
            self[key] = copy.deepcopy(super().__getitem__(key))
        return super().__getitem__(key)

    def __setitem__(self, key: Any, record: Any) -> None:
        self.copied.add(key)
        super().__setitem__(key, record)


@cache
def read_database(domain: Domain) -> DB:
    """The database of a domain as tau2 ships it; never to be changed."""
    return registry.get_env_constructor(domain)().tools.db


def make_environment(domain: Domain, solo_mode: bool = False) -> Environment:
    """A fresh environment of a domain."""
    make = registry.get_env_constructor(domain)
    if domain not in ("airline", "retail"):
        return make(solo_mode=solo_mode)
    database = read_database(domain)
    shared = {name: SharedRecords(getattr(database, name)) for name in type(database).model_fields}
    return make(db=database.model_copy(update=shared), solo_mode=solo_mode)


SHARED = {domain: f"{domain}, shared" for domain in get_args(Domain)}
"""Names in tau2's registry by which its evaluator, which makes two environments a run, gets ours."""
for _domain, _name in SHARED.items():
    if _name not in registry.get_domains():  # a notebook may load this module again
        registry.register_domain(partial(make_environment, _domain), _name)


def play_gold(domain: Domain, task: Task) -> Environment:
    """The environment after a task's gold actions; one that fails changes nothing, as in tau2's evaluator."""
    environment, start, criteria = make_environment(domain), task.initial_state, task.evaluation_criteria
    if start:
        history = start.message_history or []
        environment.set_state(start.initialization_data, start.initialization_actions, history)
    for action in (criteria and criteria.actions) or []:
        with suppress(Exception):
            environment.make_tool_call(action.name, requestor=action.requestor, **action.arguments)
    return environment


class EqualValues(BaseOperator):
    """Lets DeepDiff pass over equal values at once: a large database takes a hundredth of the time."""

    def match(self, level: Any) -> bool:
        return level.t1 == level.t2

    def give_up_diffing(self, level: Any, diff_instance: DeepDiff) -> bool:
        return True


def compare_databases(expected: Environment, actual: Environment) -> list[str]:
    """Where two environments differ, as ``orders.#W1.status: 'cancelled' expected, 'pending' found``."""
    toolkits = [(expected.tools, actual.tools), (expected.user_tools, actual.user_tools)]
    pairs = [[kit.db.model_dump() for kit in pair] for pair in toolkits if pair[0] and pair[0].db]
    options = {"view": "tree", "zip_ordered_iterables": True, "custom_operators": [EqualValues()]}
    lines = []
    for level in [level for pair in pairs for kind in DeepDiff(*pair, **options).values() for level in kind]:
        values = ["nothing" if value is notpresent else repr(value) for value in (level.t1, level.t2)]
        path = ".".join(map(str, level.path(output_format="list")))
        lines.append(f"{path}: {values[0]} expected, {values[1]} found")
    return lines
