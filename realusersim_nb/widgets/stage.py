"""A simulated user beside the real one: watch it write, judge it yourself, then see what a judge says."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace

import pandas as pd
from ipywidgets import HTML, Button, Dropdown, HBox, RadioButtons

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.client import watch_replies
from realusersim_nb.llm.errors import CallFailed, Outcome
from realusersim_nb.llm.replies import read_fields
from realusersim_nb.pt3.cases import list_judged_messages
from realusersim_nb.pt3.judges import DIMENSIONS, JudgeSettings, Rule, judge_all
from realusersim_nb.records import Case, Message, Persona
from realusersim_nb.simulators.rollouts import roll_out
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import WHOLE_LABEL, WRAP, render, show_widgets

PACE = 0.1  # seconds between two pictures of a reply that is coming
QUESTION = "Could one person have written both?"
ANSWERS = SAME, OTHER = "same person", "somebody else"
Openings = dict[str, Outcome[str]]  # by arm, what its user wrote first or why there is nothing


@dataclass(kw_only=True)
class Stage:
    """Choose an arm, watch its user and the assistant write beside the real user, judge it, ask the judge.

    ``personas`` is what each arm reads, ``judge`` one judge of ``judges.make_judges``; without widgets, the
    ``openings`` are shown. ``task`` is the work that a click began, ``transcript`` the latest conversation.
    """

    case: Case
    personas: dict[str, Persona]
    openings: Openings
    simulator: Simulator
    judge: dict[str, Rule | None]

    def __post_init__(self) -> None:
        self.transcript = self.task = None
        self.arm = Dropdown(options=list(self.personas), description="arm", style=WHOLE_LABEL)
        self.begin = Button(description="let them write", style={"font_weight": "bold"})
        self.halt = Button(description="stop", disabled=True, layout={"width": "5em"})
        self.verdict = RadioButtons(options=ANSWERS, value=None, description=QUESTION, style=WHOLE_LABEL)
        self.ask = Button(description="what does the judge say?", disabled=True, layout={"width": "16em"})
        self.page, self.result = HTML(show_beside(self.case, self.arm.value, [])), HTML()
        # JupyterLab hands clicks to another thread; calls and connections belong to the loop of the cells.
        act = asyncio.get_running_loop().call_soon_threadsafe
        self.begin.on_click(lambda _: act(self.start, self.play()))
        self.ask.on_click(lambda _: act(self.start, self.reveal()))
        self.halt.on_click(lambda _: act(self.task.cancel))
        sides = {"real": list_judged_messages(self.case.original)[:1]}
        sides |= {arm: [str(outcome)] for arm, outcome in self.openings.items()}
        controls = HBox([self.arm, self.begin, self.halt], layout=WRAP)
        widgets = [controls, self.page, self.verdict, self.ask, self.result]
        show_widgets(widgets, static=[("", render("sides", sides=sides, question=""))])

    def start(self, work: Coroutine) -> None:
        """Begin work in the background; an error of a call or of the study that ends it is on the page."""

        async def guard() -> None:
            try:
                await work
            except (StudyError, CallFailed) as error:
                self.result.value = render("note", text=error)
            except asyncio.CancelledError:  # a call that is under way is paid, and its reply kept
                self.result.value = render("note", text="Stopped. Begin again: what was written is kept.")
            finally:
                self.begin.disabled, self.halt.disabled = False, True

        self.begin.disabled, self.ask.disabled, self.result.value = True, True, ""
        self.halt.disabled = False
        self.task = asyncio.ensure_future(guard())

    async def play(self) -> None:
        """One conversation under the chosen arm, on the page while it is written."""
        arm, messages, next_draw = self.arm.value, [], 0.0

        def draw(reply: str) -> None:
            nonlocal next_draw
            if time.monotonic() > next_draw:
                self.page.value = show_beside(self.case, arm, messages, reply)
                next_draw = time.monotonic() + PACE

        self.verdict.value, self.page.value = None, show_beside(self.case, arm, messages, "")
        simulator = replace(self.simulator, max_user_messages=3)
        with watch_replies(draw):
            self.transcript = await roll_out(simulator, self.case, arm, self.personas[arm], live=messages)
        self.page.value = show_beside(self.case, arm, messages)
        error = self.transcript.error
        self.result.value, self.ask.disabled = render("note", text=error or ""), error is not None

    async def reveal(self) -> None:
        """The judge's verdicts on the latest conversation, beside yours."""
        models, settings = self.simulator.models, JudgeSettings(seed=self.simulator.seed)
        [judgement] = await judge_all(models, self.judge, [self.case], [self.transcript], settings)
        values = {"judgement": judgement, "yours": self.verdict.value}
        self.result.value = render("verdicts", **values, dimensions=DIMENSIONS, answers=ANSWERS)


def show_beside(case: Case, arm: str, messages: list[Message], reply: str | None = None) -> str:
    """HTML of the real user's messages, and of a conversation with the ``reply`` that is being written.

    What a simulator plans to ask, before it writes the message itself, is of the class ``thought``.
    """
    lines = [(message.role, message.content) for message in messages]
    if reply is not None:
        role = "assistant" if messages and messages[-1].role == "user" else "user"
        fields = read_fields(reply)
        role, text = ("thought", " ".join(fields.values())) if fields else (role, reply)
        lines.append((role, f"{text} …"))
    return render("beside", real=list_judged_messages(case.original), arm=arm, lines=lines)


def compare_openings(case: Case, openings: Openings, judge: dict[str, Rule | None]) -> pd.DataFrame:
    """The real person's first message and each arm's; one row a writer (index ``who``).

    A judge that is a rule adds, for each dimension it reads, how likely (0..1) one person wrote both.
    """
    real = list_judged_messages(case.original)[:1]
    texts = {"the real person": real[0]} | {name: str(outcome) for name, outcome in openings.items()}
    table = pd.DataFrame({"opening message": {who: cut_at_word(text, 400) for who, text in texts.items()}})
    written = {name: outcome.result for name, outcome in openings.items() if outcome.result}
    for rule in filter(None, judge.values()):
        likely = rule([real] * len(written), [[text] for text in written.values()]).set_axis(list(written))
        table = table.join(likely.round(2))
    return table.rename_axis("who")
