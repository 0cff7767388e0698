"""Conversations -> executable profiles, and whether a profile is stable, true and representative."""

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
    STABLE,
    attribute_authorship,
    measure_split_half,
    shuffle_users,
)
from realusersim_nb.profiles.style import (
    describe_features,
    measure_conversations,
    measure_messages,
    summarise_users,
    typed_text,
)
from realusersim_nb.profiles.verification import tabulate_checks

__all__ = [
    "STABLE",
    "attribute_authorship",
    "collect_words",
    "count_demographics",
    "describe_features",
    "describe_source",
    "draw_released_cases",
    "export_profiles",
    "extract_measured",
    "extract_profiles",
    "find_judge_prompt",
    "find_topics",
    "grow_profiles",
    "make_persona",
    "map_users",
    "measure_conversations",
    "measure_messages",
    "measure_split_half",
    "measure_topic_coverage",
    "render_profile",
    "shuffle_users",
    "summarise_users",
    "tabulate_checks",
    "tabulate_commands",
    "typed_text",
    "write_cases",
]
