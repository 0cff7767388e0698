"""Conversations -> executable profiles, and whether a profile is stable, true and representative."""

from realusersim_nb.profiles.commands import choose_habits, describe_features
from realusersim_nb.profiles.extraction import (
    describe_source,
    extract_measured,
    extract_profiles,
    grow_profiles,
)
from realusersim_nb.profiles.persona import make_persona, render_profile, tabulate_commands
from realusersim_nb.profiles.population import (
    collect_words,
    count_demographics,
    describe_holding,
    describe_identification,
    find_topics,
    map_users,
    measure_topic_coverage,
)
from realusersim_nb.profiles.release import (
    draw_released_cases,
    export_profiles,
    find_judge_prompt,
    write_cases,
)
from realusersim_nb.profiles.reliability import (
    attribute_authorship,
    compare_features,
    compare_texts,
    find_copies,
    identify_users,
    measure_false_discovery,
    measure_holding,
    measure_sides,
    measure_split_half,
    shuffle_users,
    tabulate_holding,
)
from realusersim_nb.profiles.verification import tabulate_checks
from realusersim_nb.style import measure_conversations, measure_messages, summarise_users, typed_text

__all__ = ["choose_habits", "describe_source", "extract_measured", "extract_profiles", "grow_profiles"]
__all__ += ["make_persona", "render_profile", "tabulate_commands"]
__all__ += ["collect_words", "count_demographics", "find_topics", "map_users", "measure_topic_coverage"]
__all__ += ["draw_released_cases", "export_profiles", "find_judge_prompt", "write_cases"]
__all__ += ["attribute_authorship", "compare_features", "compare_texts", "find_copies", "identify_users"]
__all__ += ["measure_false_discovery"]
__all__ += ["measure_holding", "measure_sides", "measure_split_half", "shuffle_users", "tabulate_holding"]
__all__ += ["describe_holding", "describe_identification"]
__all__ += ["describe_features", "measure_conversations", "measure_messages", "summarise_users"]
__all__ += ["tabulate_checks", "typed_text"]
