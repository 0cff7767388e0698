"""Figures are the same files whenever and wherever they are made."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from realusersim_nb.runs import folders

ROOT = Path(__file__).parents[2]


def save_figure(run_name: str):
    """A figure with what has ids and dates in files: markers, clipped lines, hatches, a raster, text."""
    _, axes = plt.subplots()
    axes.plot([0, 1], [1, 0], "o-", label="ä")
    axes.scatter([0, 1], [0, 1], rasterized=True)
    axes.bar([0, 1], [0.5, 0.2], hatch="/")
    axes.legend()
    folders.Run(run_name, "x").save_figure(axes, "lines")
    plt.close()


def test_same_figure_is_the_same_bytes_in_another_process_at_another_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.style.use("default")
    save_figure("here")
    code = "import matplotlib; matplotlib.use('agg'); import test_figures; test_figures.save_figure('there')"
    paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    later = {"PYTHONPATH": paths, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "86400", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], env=os.environ | later, check=True)
    for kind in ("png", "svg"):
        here, there = (tmp_path / f"outputs/{name}/x/lines.{kind}" for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes(), kind


def test_long_title_is_not_clipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    widths = []
    for title in ("short", "a title that is much longer than its axes are wide, so that it would be cut"):
        axes = plt.subplots(figsize=(2, 2))[1]
        axes.set_title(title, loc="left")
        folders.Run("r", "x").save_figure(axes, "titled")
        with Image.open(tmp_path / "outputs/r/x/titled.png") as picture:
            widths.append(picture.width)
        plt.close()
    assert widths[1] > 2 * widths[0]
