"""How messages are written: features of style, message by message and user by user, and masked n-grams."""

from realusersim_nb.style.expressions import GREETING, Measure, has, opens_with
from realusersim_nb.style.features import (
    BY_NAME,
    COMPARED,
    FEATURES,
    Feature,
    Place,
    asks_again,
    is_question,
    repeats,
    starts_lower,
    typed_text,
)
from realusersim_nb.style.labels import label_feature
from realusersim_nb.style.tables import (
    average_groups,
    compute_percentiles,
    measure_conversations,
    measure_messages,
    measure_texts,
    shuffle_by_user,
    summarise_users,
)

__all__ = ["GREETING", "Measure", "has", "opens_with"]
__all__ += ["label_feature"]
__all__ += ["BY_NAME", "COMPARED", "FEATURES", "Feature", "Place", "asks_again", "is_question"]
__all__ += ["repeats", "starts_lower", "typed_text"]
__all__ += ["average_groups", "compute_percentiles", "measure_conversations", "measure_messages"]
__all__ += ["measure_texts", "shuffle_by_user", "summarise_users"]
