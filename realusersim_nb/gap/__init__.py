"""The distributional gap: facets of behaviour, embeddings, clusters, divergences and their floor."""

from realusersim_nb.gap.ablations import compare_ranks, vary_choices
from realusersim_nb.gap.behaviours import compare_all_behaviours, summarise_behaviours
from realusersim_nb.gap.divergence import (
    FLOOR,
    MEASURES,
    choose_k,
    cluster_points,
    compare_features,
    compare_systems,
    compute_divergences,
    count_by_user,
    draw_floor,
    measure_gap,
    smooth,
    warn_of_size,
)
from realusersim_nb.gap.embeddings import embed_texts, project_to_plane, reduce_dimensions
from realusersim_nb.gap.facets import REAL, drop_failed, join_facets, list_systems, make_facets
from realusersim_nb.gap.metrics import measure_coverage, measure_dice, measure_probe
from realusersim_nb.gap.mixtures import measure_mixtures
from realusersim_nb.gap.odd_one_out import (
    ask_annotator,
    draw_triplets,
    measure_kappa,
    read_answers,
    score_answers,
    tabulate_answers,
)

__all__ = [
    "FLOOR",
    "MEASURES",
    "REAL",
    "ask_annotator",
    "choose_k",
    "cluster_points",
    "compare_all_behaviours",
    "compare_features",
    "compare_ranks",
    "compare_systems",
    "compute_divergences",
    "count_by_user",
    "draw_floor",
    "draw_triplets",
    "drop_failed",
    "embed_texts",
    "join_facets",
    "list_systems",
    "make_facets",
    "measure_coverage",
    "measure_dice",
    "measure_gap",
    "measure_kappa",
    "measure_mixtures",
    "measure_probe",
    "project_to_plane",
    "read_answers",
    "reduce_dimensions",
    "score_answers",
    "smooth",
    "summarise_behaviours",
    "tabulate_answers",
    "vary_choices",
    "warn_of_size",
]
