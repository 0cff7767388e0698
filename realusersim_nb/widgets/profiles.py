"""Profiles: commands beside the messages that are their evidence, and how they grow message by message."""

from ipywidgets import Dropdown, IntSlider, Text

from realusersim_nb.profiles.persona import render_profile
from realusersim_nb.records import Conversation, Profile
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import ANY, N_SHOWN, NOBODY, WHOLE_LABEL, browse, follow, render

N_LATEST = 6  # messages beside a profile that grows


def browse_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> None:
    """One or two users (see ``show_profiles``), to be filtered; without widgets, the first one."""
    by_id = {profile.user_id: profile for profile in profiles}
    dimensions = [ANY, *sorted({c.dimension for p in profiles for c in p.commands})]
    dimension = Dropdown(options=dimensions, description="stands apart in", style=WHOLE_LABEL)
    word = Text(placeholder="a word they use", continuous_update=False)
    first = Dropdown(options=list(by_id), description="user")
    second = Dropdown(options=[NOBODY, *by_id], description="beside")

    def narrow(dimension: str, word: str) -> None:
        matches = filter_profiles(profiles, users, dimension=dimension, word=word)
        first.options = [profile.user_id for profile in matches]
        first.value = first.options[0] if matches else None

    def show(dimension: str, word: str, *names: str | None) -> str:
        if names[0] is None:
            apart = "" if dimension == ANY else f" stands apart in {dimension}" + " and" * bool(word)
            return render("note", text=f"Nobody{apart}" + f" uses {word!r}" * bool(word) + ".")
        return show_profiles([by_id[name] for name in names if name in by_id], users)

    follow([dimension, word], narrow)
    browse([dimension, word, first, second], show)


def filter_profiles(
    profiles: list[Profile], users: dict[str, list[Conversation]], *, dimension: str = ANY, word: str = ""
) -> list[Profile]:
    """Those with a command in a dimension and with a word (any case) in one of their messages."""
    apart = [p for p in profiles if dimension == ANY or dimension in {c.dimension for c in p.commands}]
    texts = {p.user_id: "\n".join(m for c in users[p.user_id] for m in c.user_messages) for p in apart}
    return [profile for profile in apart if word.lower() in texts[profile.user_id].lower()]


def show_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> str:
    """HTML of users side by side: commands with their figures, messages (evidence marked), the prompt."""
    people = []
    for profile in profiles:
        messages = [m for c in users[profile.user_id] for m in c.user_messages]
        examples = {e for c in profile.commands for e in c.examples}
        messages.sort(key=lambda m, examples=examples: not any(e in m for e in examples))
        pieces = [split_at_evidence(cut_at_word(m, 240), examples) for m in messages[:N_SHOWN]]
        people.append((profile, render_profile(profile), pieces, len(messages)))
    return render("profiles", people=people)


def split_at_evidence(text: str, examples: set[str]) -> tuple[str, str, str]:
    """The text before, in and after the longest example in it; all of it before if there is none."""
    quote = max((e for e in examples if e in text), key=len, default="")
    return text.partition(quote) if quote else (text, "", "")


def watch_profile(texts: list[str], grown: list[Profile]) -> None:
    """A slider over messages and the profile that they give so far (``grown`` of ``grow_profiles``)."""
    n, layout = len(texts), {"width": "30em"}
    slider = IntSlider(1, 1, n, description="messages read", style=WHOLE_LABEL, layout=layout)
    static = [("", show_growth(texts, grown, step)) for step in sorted({1, (n + 1) // 2, n})]
    browse([slider], lambda step: show_growth(texts, grown, step), static=static)


def show_growth(texts: list[str], grown: list[Profile], n: int) -> str:
    """HTML of the latest of n messages and the commands; those that the n-th message brought are marked."""
    before = {command.command for command in grown[n - 2].commands} if n > 1 else set()
    latest, commands = texts[max(0, n - N_LATEST) : n], grown[n - 1].commands
    return render("growth", texts=latest, commands=commands, before=before, n=n, n_all=len(texts))
