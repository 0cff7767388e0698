"""The first hour's widgets: a profile that grows, a simulated user beside the real one, your verdict and a judge's."""

import asyncio
import html
import time
from collections.abc import Coroutine

import ipywidgets
import pandas as pd

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.client import read_fields, watch_replies
from realusersim_nb.llm.models import Outcome
from realusersim_nb.pt3 import judges
from realusersim_nb.pt3.cases import list_judged_messages
from realusersim_nb.pt3.judges import DIMENSIONS, Rule
from realusersim_nb.records import Case, Judgement, Message, Transcript
from realusersim_nb.simulators import rollouts
from realusersim_nb.simulators.users import Simulator, UserTurn
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import list_side, show_widgets, side_by_side

WRITTEN = list(UserTurn.model_fields)[-1]  # the field of a reply that is the message itself
PACE = 0.1  # seconds between two pictures of a reply that is coming
SAME, OTHER = "same person", "somebody else"


# --- a simulated user beside the real one ------------------------------------------------------


class Stage:
    """Choose an arm and watch its user and the assistant write, beside the real user; judge it, then see the judge.

    ``personas`` is what each arm is told, ``judge`` one judge of ``judges.make_judges``, ``openings`` what each arm
    began with: all that a page without widgets shows. ``task`` is what the newest click set going.
    """

    def __init__(
        self,
        case: Case,
        personas: dict[str, str],
        player: Simulator,
        assistant: str,
        judge: dict[str, Rule | None],
        *,
        openings: dict[str, Outcome[str]],
        max_user_messages: int = 3,
    ):
        self.case, self.personas, self.player, self.assistant, self.judge = (
            case,
            personas,
            player,
            assistant,
            judge,
        )
        self.max_user_messages = max_user_messages
        self.played: Transcript | None = None
        self.task: asyncio.Task | None = None
        self.arm = ipywidgets.Dropdown(
            options=list(personas), description="told as in", style={"description_width": "initial"}
        )
        self.begin = ipywidgets.Button(description="let them write", button_style="primary")
        self.verdict = ipywidgets.ToggleButtons(
            options=[SAME, OTHER],
            value=None,
            description="Could one person have written both?",
            style={"description_width": "initial"},
        )
        self.ask = ipywidgets.Button(
            description="what does the judge say?", disabled=True, layout={"width": "16em"}
        )
        self.page, self.told = ipywidgets.HTML(show_beside(case, self.arm.value, [])), ipywidgets.HTML()
        self.begin.on_click(lambda _: self.set_going(self.play()))
        self.ask.on_click(lambda _: self.set_going(self.reveal()))
        controls = ipywidgets.HBox([self.arm, self.begin], layout={"flex_flow": "row wrap"})
        show_widgets(
            [controls, self.page, self.verdict, self.ask, self.told], without=show_openings(case, openings)
        )

    def set_going(self, work: Coroutine) -> None:
        """Do it while the page stays alive; what stops it is told on the page."""

        async def guard() -> None:
            try:
                await work
            except StudyError as problem:
                self.told.value = f"<b>{html.escape(str(problem))}</b>"
            finally:
                self.begin.disabled = False

        self.begin.disabled, self.ask.disabled, self.told.value = True, True, ""
        self.task = asyncio.ensure_future(guard())

    async def play(self) -> None:
        """One conversation under the chosen arm, on the page while it is written."""
        arm, heard, drawn = self.arm.value, [], [0.0]

        def draw(coming: str) -> None:
            if time.monotonic() - drawn[0] > PACE:
                self.page.value = show_beside(self.case, arm, heard, coming)
                drawn[0] = time.monotonic()

        self.verdict.value, self.page.value = None, show_beside(self.case, arm, heard, "")
        with watch_replies(draw):
            self.played = await rollouts.roll_out(
                self.player,
                self.assistant,
                self.case,
                arm,
                self.personas[arm],
                max_user_messages=self.max_user_messages,
                heard=heard,
            )
        self.page.value = show_beside(self.case, arm, heard)
        self.told.value = html.escape(self.played.error or "")
        self.ask.disabled = self.played.error is not None

    async def reveal(self) -> None:
        """The judge's verdicts on what was played last, beside yours."""
        [found] = await judges.judge_all(
            self.player.models, self.judge, [self.case], [self.played], seed=self.player.seed
        )
        self.told.value = show_verdicts(found, self.verdict.value)


def show_beside(case: Case, arm: str, heard: list[Message], coming: str | None = None) -> str:
    """HTML of the real user's messages, and of the conversation so far with what is just being written."""
    lines = [show_message(m.role, m.content) for m in heard]
    if coming is not None:
        fields = read_fields(coming)
        role = "assistant" if heard and heard[-1].role == "user" and not fields else "user"
        text = fields.get(WRITTEN) or (
            " ".join(fields.values()) if fields else coming if role == "assistant" else ""
        )
        lines.append(show_message(role, f"{text} …", faint=role == "user" and WRITTEN not in fields))
    said = "".join(lines) or "<p><i>Nobody has written yet.</i></p>"
    return side_by_side(
        list_side("real", list_judged_messages(case.original)), f"<b>{html.escape(arm)}</b>{said}"
    )


def show_message(role: str, text: str, *, faint: bool = False) -> str:
    """HTML of one message; the assistant's is indented, a thought that is no message yet is faint."""
    look = (
        "margin-left:2em;font-size:90%;opacity:.75" if role == "assistant" else "opacity:.5" if faint else ""
    )
    return f"<p style='{look}'>{html.escape(cut_at_word(text, 400))}</p>"


def show_verdicts(found: Judgement, yours: str | None) -> str:
    """HTML of the judge's verdict on each dimension, and of yours."""
    if found.verdicts is None:
        return f"The judge gives no verdict: {html.escape(found.error or '')}."
    rows = "".join(
        f"<tr><td>{d}: {DIMENSIONS[d]}</td><td>{SAME if v else OTHER}</td></tr>"
        for d, v in found.verdicts.items()
    )
    reason = f"<pre style='white-space:pre-wrap'>{html.escape(found.analysis)}</pre>"
    return f"<p>You: <b>{yours or 'no verdict'}</b>. The judge ({html.escape(found.judge)}):</p><table>{rows}</table>{reason}"


def compare_openings(
    case: Case, openings: dict[str, Outcome[str]], judge: dict[str, Rule | None]
) -> pd.DataFrame:
    """The real person's first message and each arm's; one row a writer (index ``who``).

    A judge that is a rule adds, for each dimension it reads, how likely (0..1) one person wrote both.
    """
    said = {name: cut_at_word(str(text), 400) for name, text in openings.items()}
    real = list_judged_messages(case.original)[:1]
    table = pd.DataFrame(
        {"opening message": {"the real person": cut_at_word(real[0], 400), **said}}
    ).rename_axis("who")
    written = {name: o.result for name, o in openings.items() if o.result}
    for rule in filter(None, judge.values()):
        likely = rule([real] * len(written), [[text] for text in written.values()]).set_axis(list(written))
        table = table.join(likely.round(2))
    return table


def show_openings(case: Case, openings: dict[str, Outcome[str]]) -> str:
    """HTML of the real user's first message and each arm's, side by side."""
    sides = {"real": list_judged_messages(case.original)[0], **openings}
    return side_by_side(*(list_side(name, [str(text)]) for name, text in sides.items()))
