"""TODO."""

import html

import ipywidgets

from realusersim_nb.profiles.persona import render_profile
from realusersim_nb.records import Conversation, Profile
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import ANY, NOBODY, SHOWN, show_widgets, side_by_side


def browse_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> None:
    """One user's commands beside their messages, with the evidence marked, and the prompt to copy.

    Where widgets run, the list of users can be filtered by a dimension that sets them apart and by a word they
    use, and a second user can be put beside the first.
    """
    known = {profile.user_id: profile for profile in profiles}
    dimensions = sorted({c.dimension for p in profiles for c in p.commands})
    dimension = ipywidgets.Dropdown(
        options=[ANY, *dimensions], description="stands apart in", style={"description_width": "initial"}
    )
    word = ipywidgets.Text(placeholder="a word they use", continuous_update=False)
    first = ipywidgets.Dropdown(options=list(known), description="user")
    second = ipywidgets.Dropdown(options=[NOBODY, *known], description="beside")
    page = ipywidgets.HTML(show_profiles([profiles[0]], users))

    def narrow(_) -> None:
        left = filter_profiles(profiles, users, dimension=dimension.value, word=word.value)
        first.options = [profile.user_id for profile in left] or list(known)

    def show(_) -> None:
        chosen = [name for name in (first.value, second.value) if name in known]
        page.value = show_profiles([known[name] for name in chosen], users)

    for control in (dimension, word):
        control.observe(narrow, names="value")
    for control in (first, second):
        control.observe(show, names="value")
    controls = ipywidgets.HBox([dimension, word, first, second], layout={"flex_flow": "row wrap"})
    show_widgets([controls, page], without=page.value)


def filter_profiles(
    profiles: list[Profile], users: dict[str, list[Conversation]], *, dimension: str = ANY, word: str = ""
) -> list[Profile]:
    """Those with a command in a dimension and with a word (any case) in one of their messages."""
    return [
        p
        for p in profiles
        if (dimension == ANY or any(c.dimension == dimension for c in p.commands))
        and any(word.lower() in m.lower() for c in users[p.user_id] for m in c.user_messages)
    ]


def show_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> str:
    """HTML of one user, or of two side by side."""
    return side_by_side(*(show_profile(p, users[p.user_id]) for p in profiles))


def show_profile(profile: Profile, conversations: list[Conversation]) -> str:
    """HTML of one user: commands with the figure behind each, messages with the evidence marked, the prompt.

    All text of the corpus and of models is escaped.
    """
    messages = [m for c in conversations for m in c.user_messages]
    examples = {e for c in profile.commands for e in c.examples}
    messages.sort(key=lambda m: not any(e in m for e in examples))
    commands = "".join(
        f"<li>{html.escape(c.command)}{describe_evidence(c.evidence)}</li>" for c in profile.commands
    )
    said = "".join(f"<li>{mark(cut_at_word(m, 240), examples)}</li>" for m in messages[:SHOWN])
    return (
        f"<b>{html.escape(profile.user_id)}</b> ({len(messages)} messages)"
        f"<ul>{commands or '<li>Nothing sets this person apart.</li>'}</ul>"
        f"<b>Messages</b>, evidence first and marked<ul>{said}</ul>"
        f"<details><summary>the prompt, to copy</summary><pre style='white-space:pre-wrap'>{html.escape(render_profile(profile))}</pre></details>"
    )


def describe_evidence(evidence: dict) -> str:
    """The figure behind a command, in grey."""
    if "percentile" not in evidence:
        return ""
    share = evidence["percentile"]
    side = f"more than {share:.0%}" if share > 0.5 else f"less than {1 - share:.0%}"
    figure = f"{html.escape(str(evidence['feature']))} {evidence['value']:g}, {side} of users, {evidence['n']} messages"
    return f" <span style='opacity:.6;font-size:85%'>({figure})</span>"


def mark(text: str, examples: set[str]) -> str:
    """The escaped text, in bold where it is evidence: the longest example in it."""
    found = max((e for e in examples if e in text), key=len, default="")
    if not found:
        return html.escape(text)
    before, _, after = text.partition(found)
    return f"{html.escape(before)}<mark>{html.escape(found)}</mark>{html.escape(after)}"
