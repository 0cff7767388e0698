"""The Paired Trajectory Turing Test: cases, judges, what the judges are worth, the fidelity index."""

from realusersim_nb.pt3.agreement import (
    choose_best_judge,
    compare_readers,
    judge_again,
    leave_out_judges,
    measure_validity,
)
from realusersim_nb.pt3.authorship import attribute_transcripts, evaluate_authorship, measure_power
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
    tag_cases,
)
from realusersim_nb.pt3.findings import (
    describe_attribution,
    describe_ceiling,
    describe_gain,
    describe_givings,
    describe_pair,
)
from realusersim_nb.pt3.formalism import compare_formalism, measure_formalism, pivot_formalism
from realusersim_nb.pt3.judges import (
    DIMENSIONS,
    JudgeSettings,
    choose_model_judge,
    find_unscored_reason,
    judge_all,
    judge_transcripts,
    make_judge_request,
    make_judges,
)
from realusersim_nb.pt3.labels import draw_label_pairs, holds_pairs, read_labels, read_pairs, read_verdicts
from realusersim_nb.pt3.likelihood import (
    FIT_ARMS,
    attribute_messages,
    choose_scorer,
    compare_fit,
    measure_fit,
    summarise_fit,
)
from realusersim_nb.pt3.scores import (
    compare_fidelity,
    normalise_fidelity,
    score_fidelity,
    tabulate_contradictions,
    tabulate_verdicts,
)

__all__ = ["draw_cases", "make_case", "make_cases", "measure_leaks", "simulate_cases", "split_by_domain"]
__all__ += ["cut_case", "draw_reference_arms", "render_judged_messages", "tabulate_side_by_side", "tag_cases"]
__all__ += ["DIMENSIONS", "JudgeSettings", "choose_model_judge", "measure_formalism", "pivot_formalism"]
__all__ += ["find_unscored_reason", "judge_all", "judge_transcripts", "make_judge_request", "make_judges"]
__all__ += [
    "compare_fidelity",
    "normalise_fidelity",
    "read_labels",
    "read_verdicts",
    "score_fidelity",
    "tabulate_verdicts",
]
__all__ += ["compare_readers", "draw_label_pairs", "evaluate_authorship", "judge_again", "measure_validity"]
__all__ += ["FIT_ARMS", "attribute_messages", "compare_fit", "measure_fit", "summarise_fit"]
__all__ += ["choose_best_judge", "compare_formalism"]
__all__ += ["describe_attribution", "describe_ceiling", "describe_gain", "describe_pair"]
__all__ += ["attribute_transcripts", "describe_givings"]
__all__ += ["choose_scorer"]
__all__ += ["holds_pairs", "leave_out_judges", "measure_power", "read_pairs", "tabulate_contradictions"]
