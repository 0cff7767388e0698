"""TODO."""

import html

import ipywidgets

from realusersim_nb.records import Profile
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import show_widgets, side_by_side
from realusersim_nb.widgets.profiles import describe_evidence

# --- a profile that grows ----------------------------------------------------------------------


def watch_profile(texts: list[str], grown: list[Profile]) -> None:
    """A person's messages beside the profile that they have given so far, by a slider.

    ``grown`` of ``extraction.grow_profiles``, one a message. A page without widgets shows the beginning, the middle and the end.
    """
    slider = ipywidgets.IntSlider(
        value=1,
        min=1,
        max=len(texts),
        description="messages read",
        style={"description_width": "initial"},
        layout={"width": "30em"},
    )
    page = ipywidgets.HTML(show_growth(texts, grown, 1))
    slider.observe(
        lambda change: setattr(page, "value", show_growth(texts, grown, change["new"])), names="value"
    )
    shown = sorted({1, (len(texts) + 1) // 2, len(texts)})
    steps = [f"<p><b>{n} of {len(texts)} messages read</b></p>{show_growth(texts, grown, n)}" for n in shown]
    show_widgets([slider, page], without="".join(steps))


def show_growth(texts: list[str], grown: list[Profile], n: int) -> str:
    """HTML of the newest messages read and the commands they give; those that the newest message brought are marked."""
    before = {c.command for c in grown[n - 2].commands} if n > 1 else set()
    commands = [
        (html.escape(c.command), c.command in before, describe_evidence(c.evidence))
        for c in grown[n - 1].commands
    ]
    lines = "".join(
        f"<li>{text if known else f'<mark>{text}</mark>'}{why}</li>" for text, known, why in commands
    )
    start = max(0, n - 6)
    said = "".join(f"<li>{html.escape(cut_at_word(text, 200))}</li>" for text in texts[start:n])
    return side_by_side(
        f"<b>messages</b><ol start='{start + 1}'>{said}</ol>",
        f"<b>profile</b><ul>{lines or '<li><i>Nothing sets this person apart yet.</i></li>'}</ul>",
    )
