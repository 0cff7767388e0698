"""Profiles: commands beside the messages that are their evidence, and how they grow message by message."""

from ipywidgets import Combobox, Dropdown, IntSlider, Label, Text

from realusersim_nb.profiles.persona import render_profile
from realusersim_nb.records import Conversation, Profile
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import ANY, N_SHOWN, WHOLE_LABEL, browse, follow, render

N_LISTED = 200  # users in a list
N_LATEST = 6  # messages beside a profile that grows


def browse_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> None:
    """One or two users (see ``show_profiles``), to be searched; without widgets, the first one.

    The list holds the first 200 that match; the second user is any whose id is typed.
    """
    by_id = {profile.user_id: profile for profile in profiles}
    dimensions = [ANY, *sorted({c.dimension for p in profiles for c in p.commands})]
    dimension = Dropdown(options=dimensions, description="stands apart in", style=WHOLE_LABEL)
    shared = {"continuous_update": False, "style": WHOLE_LABEL}
    word = Text(placeholder="a word they use, or an id", description="search", **shared)
    first = Dropdown(description="user")
    ids = list(by_id)[:N_LISTED]
    second = Combobox(options=ids, placeholder="another id", description="beside", **shared)
    count = Label()

    def narrow(dimension: str, word: str) -> None:
        ids = [p.user_id for p in filter_profiles(profiles, users, dimension=dimension, word=word)]
        first.options, first.value = ids[:N_LISTED], ids[0] if ids else None
        listed = f"; the first {N_LISTED} are listed, search for others" * (len(ids) > N_LISTED)
        count.value = f"{len(ids):,} of {len(profiles):,} users{listed}"

    def show(dimension: str, word: str, *names: str | None) -> str:
        if names[0] is None:
            apart = "" if dimension == ANY else f" stands apart in {dimension}" + " and" * bool(word)
            return render("note", text=f"Nobody{apart}" + f" uses {word!r}" * bool(word) + ".")
        if names[1] and names[1] not in by_id:
            return render("note", text=f"No user has the id {names[1]!r}; choose one of the list.")
        return show_profiles([by_id[name] for name in names if name], users)

    narrow(ANY, "")
    follow([dimension, word], narrow)
    browse([dimension, word, first, second], show, beside=[count])


def filter_profiles(
    profiles: list[Profile], users: dict[str, list[Conversation]], *, dimension: str = ANY, word: str = ""
) -> list[Profile]:
    """Those with a command in a dimension and with a word (any case) in one of their messages or their id."""
    apart = (p for p in profiles if dimension == ANY or dimension in {c.dimension for c in p.commands})
    return [profile for profile in apart if not word or uses_word(profile.user_id, users, word.lower())]


def uses_word(user_id: str, users: dict[str, list[Conversation]], word: str) -> bool:
    """Whether a word in lower case is in an id or in a message of its user."""
    messages = (message for c in users[user_id] for message in c.user_messages)
    return any(word in text.lower() for text in (user_id, *messages))


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
