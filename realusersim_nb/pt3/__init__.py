"""The Paired Trajectory Turing Test: cases, judges, what the judges are worth, the fidelity index."""

from realusersim_nb.pt3.agreement import compare_readers, judge_again, measure_validity
from realusersim_nb.pt3.authorship import evaluate_authorship
from realusersim_nb.pt3.cases import (
    cut_case,
    draw_cases,
    draw_reference_arms,
    make_case,
    make_cases,
    measure_leaks,
    render_judged_messages,
    simulate_cases,
    split_by_domain,
    tabulate_side_by_side,
)
from realusersim_nb.pt3.formalism import measure_formalism, pivot_formalism
from realusersim_nb.pt3.judges import (
    DIMENSIONS,
    JudgeSettings,
    choose_model_judge,
    find_unscored_reason,
    judge_all,
    judge_transcript,
    make_judges,
    write_judge_prompt,
)
from realusersim_nb.pt3.labels import draw_label_pairs, read_labels
from realusersim_nb.pt3.scores import compare_fidelity, normalise_fidelity, score_fidelity, tabulate_verdicts

__all__ = [
    "DIMENSIONS",
    "JudgeSettings",
    "choose_model_judge",
    "compare_fidelity",
    "compare_readers",
    "cut_case",
    "draw_cases",
    "draw_label_pairs",
    "draw_reference_arms",
    "evaluate_authorship",
    "find_unscored_reason",
    "judge_again",
    "judge_all",
    "judge_transcript",
    "make_case",
    "make_cases",
    "make_judges",
    "measure_formalism",
    "measure_leaks",
    "measure_validity",
    "normalise_fidelity",
    "pivot_formalism",
    "read_labels",
    "render_judged_messages",
    "score_fidelity",
    "simulate_cases",
    "split_by_domain",
    "tabulate_side_by_side",
    "tabulate_verdicts",
    "write_judge_prompt",
]
