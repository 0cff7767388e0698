"""The page of a run."""

import pytest

from realusersim_nb import files
from realusersim_nb.runs import report


@pytest.mark.parametrize(("usd", "shown"), [(None, "cost unknown"), (1234.5, "$1,234.50")])
def test_page_shows_the_cost_also_where_a_price_is_not_known(tmp_path, usd, shown):
    counts = dict.fromkeys(["live", "cached", "failed", "prompt_tokens", "completion_tokens"], 1)
    made = {"calls": counts | {"cost_usd": usd}, "cost_usd": usd, "wall_seconds": 60}
    files.write_json(tmp_path / "manifest.json", made | {"versions": {}, "parameters": {}, "prompts": {}})
    files.write_json(tmp_path / "summary.json", made)
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert f"1 calls (1 cached, 1 failed), 2 tokens, {shown}, 1.0 minutes" in page
