"""The distributional gap: facets of behaviour, embeddings, clusters, divergences and their floor."""

from realusersim_nb.gap.ablations import Choices, compare_ranks, vary_choices
from realusersim_nb.gap.behaviours import compare_all_behaviours, summarise_behaviours
from realusersim_nb.gap.calibration import calibrate_gap, place_gap
from realusersim_nb.gap.divergence import (
    FLOOR,
    MEASURES,
    choose_k,
    cluster_embeddings,
    cluster_pairs,
    compare_features,
    compare_systems,
    compute_divergences,
    count_clusters,
    draw_floor,
    measure_gap,
    warn_of_size,
)
from realusersim_nb.gap.embeddings import embed_texts, project_to_plane, reduce_dimensions
from realusersim_nb.gap.endings import keep_ended, tabulate_endings
from realusersim_nb.gap.facets import REAL, drop_failed, join_facets, list_systems, make_facets
from realusersim_nb.gap.metrics import (
    describe_probe,
    measure_coverage,
    measure_dice,
    measure_frontier,
    measure_ngram_probe,
    measure_probe,
)
from realusersim_nb.gap.mixtures import measure_mixtures
from realusersim_nb.gap.odd_one_out import (
    ask_annotator,
    draw_triplets,
    measure_kappa,
    read_answers,
    score_answers,
    tabulate_answers,
)

__all__ = ["Choices", "compare_all_behaviours", "compare_ranks", "vary_choices"]
__all__ += ["FLOOR", "MEASURES", "choose_k", "cluster_embeddings", "describe_probe", "summarise_behaviours"]
__all__ += ["compare_features", "compare_systems", "compute_divergences", "draw_floor", "measure_gap"]
__all__ += ["embed_texts", "measure_mixtures", "project_to_plane", "warn_of_size"]
__all__ += ["calibrate_gap", "cluster_pairs", "count_clusters", "measure_frontier", "measure_ngram_probe"]
__all__ += ["keep_ended", "place_gap", "tabulate_endings"]
__all__ += ["REAL", "drop_failed", "join_facets", "list_systems", "make_facets", "reduce_dimensions"]
__all__ += ["measure_coverage", "measure_dice", "measure_probe", "tabulate_answers"]
__all__ += ["ask_annotator", "draw_triplets", "measure_kappa", "read_answers", "score_answers"]
