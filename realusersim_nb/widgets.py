"""ipywidgets browsers for notebooks; each shows something static where widgets cannot run."""

import html

import ipywidgets
from IPython.display import HTML, display

from realusersim_nb import profiles as profiles_module
from realusersim_nb.records import Conversation, Profile


def browse_profiles(profiles: list[Profile], users: dict[str, list[Conversation]], *, first: int = 0) -> None:
    """Show one user's profile beside their messages, and a menu to choose another user."""
    page = ipywidgets.Output()
    menu = ipywidgets.Dropdown(
        options=[(p.user_id, i) for i, p in enumerate(profiles)], value=first, description="user"
    )

    def show(change: dict) -> None:
        with page:
            page.clear_output(wait=True)
            chosen = profiles[change["new"]]
            display(show_profile(chosen, users[chosen.user_id]))

    menu.observe(show, names="value")
    display(menu, show_profile(profiles[first], users[profiles[first].user_id]), page)


def show_profile(profile: Profile, conversations: list[Conversation], *, n_messages: int = 12) -> HTML:
    """The rendered profile on the left, the user's first messages on the right; text is escaped."""
    messages = [m for c in conversations for m in c.user_messages][:n_messages]
    left = html.escape(profiles_module.render(profile)).replace("\n", "<br>")
    right = "".join(f"<li>{html.escape(profiles_module.cut_at_word(m, 200))}</li>" for m in messages)
    return HTML(
        f"<div style='display:flex;gap:2em;text-align:left'><div style='flex:1'><b>Profile of {html.escape(profile.user_id)}</b>"
        f"<p>{left}</p></div><div style='flex:1'><b>First {len(messages)} messages</b><ul>{right}</ul></div></div>"
    )
