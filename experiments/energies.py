"""Flows fitted to the energies U1 to U4 by reverse KL: `python experiments/energies.py runs/SWEEP [runs/SWEEP ...]`.

SWEEP is the directory of `flowlab-train -m +sweep=energies`, or of a part of it, as with `flow=nsf flow.depth=2`. Two
tables have the reverse KL, log Z minus the ELBO, and the forward KL from exact points, in nats: the median over seeds,
the range, and the standard error of one run. Lines say which goals are reached. A figure has the exact densities beside
those of flows; `--figure PATH` writes it. `--record PATH` writes PATH.csv, PATH.json, and PATH_flows.npz with the
parameters of the flows in the figure. Exit status: 0 every run is done, 1 some are not, 2 a mistake of the user.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

from flowlab.cli.command import report_mistakes
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.plotting import density_panels, run_densities, save_figure
from flowlab.runs.directory import Run, load_run
from flowlab.sweeps.manifest import Manifest
from flowlab.sweeps.summary import as_markdown
from flowlab.sweeps.table import load_sweep
from flowlab.system.files import write_bytes, write_json, write_text
from flowlab.system.process import origin, protect_output

RESULTS = ["parameters", "reverse_kl", "reverse_kl_se", "kl", "kl_se", "entropy", "steps", "seconds"]
COLUMNS = ["target", "flow", "layers", "seed", *RESULTS]
PLANAR, BESIDE = "planar_samples", "nsf"
DRAWN = [
    (PLANAR, 2),
    (PLANAR, 8),
    (PLANAR, 32),
    ("radial", None),
    (BESIDE, None),
]  # None: whatever number of layers it has
DIVERGENCES = {"reverse_kl": "reverse KL", "kl": "forward KL"}
ERRORS = 3  # standard errors below 0 at which an estimate of a divergence is wrong
SMALL = ("u2", BESIDE, 0.01)  # a target, a flow, and the reverse KL that it should reach, in nats
OK, UNFINISHED = 0, 1  # exit status


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line, given without the program's name; gives the exit status."""
    parser = argparse.ArgumentParser("energies.py", description="Flows on the energies U1 to U4, in nats.")
    parser.add_argument(
        "directories", metavar="DIR", type=Path, nargs="+", help="directories of sweeps +sweep=energies"
    )
    parser.add_argument("--figure", metavar="PATH", type=Path, help="also draw densities, as a PNG file")
    parser.add_argument("--record", metavar="PATH", type=Path, help="also write PATH.csv, PATH.json, PATH_flows.npz")
    options = parser.parse_args(arguments)
    with protect_output():
        return report_mistakes(lambda: _measure_sweeps(options), "nothing was recorded")


def _measure_sweeps(options: argparse.Namespace) -> int:
    read = [read_rows(Path(local_path("DIR", directory))) for directory in options.directories]
    rows, waiting = pandas.concat([found for found, _ in read], ignore_index=True), sum(count for _, count in read)
    if rows.duplicated(["target", "flow", "layers", "seed"]).any():
        raise ConfigError("DIR: two sweeps hold the same runs; give each once")
    for column, name in DIVERGENCES.items():
        print(f"{name} in nats: median over seeds (least to greatest; standard error of one run)\n")
        print(as_markdown(spread(rows, column)), end="\n\n")
    for line in describe_goals(rows):
        print(line)
    if options.figure or options.record:
        runs = {key: load_run(place) for key, place in pick_drawn(rows).items()}
    if options.figure:
        save_figure(draw(runs), options.figure)
        print(f"wrote {options.figure}")
    if options.record:
        write_record(rows, runs, str(options.record).removesuffix(".csv"))
    return UNFINISHED if waiting else OK


def read_rows(directory: Path) -> tuple[pandas.DataFrame, int]:
    """A row for each finished run of a sweep, with COLUMNS and its directory, and how many runs are not finished.

    Raises:
        ConfigError: the directory holds no sweep, no run is done, or its runs have no reverse KL.
    """
    words = [dict(word.partition("=")[::2] for word in job["overrides"]) for job in Manifest.read(directory).jobs]
    table = load_sweep(directory)
    chosen = {"target": "target", "flow": "flow", "layers": "flow.depth", "seed": "seed"}
    for column, key in chosen.items():
        table[column] = [word.get(key, "") for word in words]
    done = table[table["status"] == "done"]
    if done.empty:
        raise ConfigError(f"{directory}: no run is done yet")
    if "reverse_kl" not in done or not (done[["target", "flow", "layers", "seed"]] != "").all(axis=None):
        raise ConfigError(f"{directory}: its runs have no reverse KL; give the directory of a sweep of +sweep=energies")
    done = done.astype({"layers": int, "seed": int, "parameters": int, "steps": int})
    return done[[*COLUMNS, "directory"]].reset_index(drop=True), len(table) - len(done)


def spread(rows: pandas.DataFrame, column: str) -> pandas.DataFrame:
    """A row for each flow, a column for each target: median, range, and the median standard error of one run."""
    table: dict[str, dict[str, str]] = {}
    for (flow, layers, target), some in rows.groupby(["flow", "layers", "target"], sort=False):
        values, error = some[column], some[f"{column}_se"].median()
        cell = f"{values.median():.4f} ({values.min():.4f} to {values.max():.4f}; {error:.4f})"
        row = table.setdefault(f"{flow}, {layers} layers", {"parameters": str(some["parameters"].iloc[0])})
        row[target] = cell
    return pandas.DataFrame.from_dict(table, orient="index").fillna("").rename_axis("flow").reset_index()


def describe_goals(rows: pandas.DataFrame) -> list[str]:
    """Lines that say which goals are reached."""
    lowest = (rows["reverse_kl"] / rows["reverse_kl_se"]).min()
    lines = [f"{_word(lowest >= -ERRORS)}: no reverse KL below -{ERRORS} standard errors; the least is {lowest:.1f}"]
    for target, some in rows[rows["flow"] == PLANAR].groupby("target", sort=False):
        medians = some.groupby("layers")["reverse_kl"].median().sort_index()
        said = ", ".join(f"K = {layers}: {value:.4f}" for layers, value in medians.items())
        lines.append(
            f"{_word(bool((medians.diff().dropna() < 0).all()))}: on {target} planar flows fall with K; {said}"
        )
    target, flow, most = SMALL
    values = rows.loc[(rows["target"] == target) & (rows["flow"] == flow), "reverse_kl"]
    if len(values):
        word, median = _word(bool(values.median() <= most)), values.median()
        lines.append(f"{word}: {flow} on {target} at most {most} nats; the median is {median:.4f}")
    return lines


def _word(reached: bool) -> str:
    return "reached" if reached else "MISSED"


def pick_drawn(rows: pandas.DataFrame) -> dict[tuple[str, str, int], str]:
    """The directories of the runs to draw, by target, flow and layers: of each the seed with the median reverse KL."""
    picked: dict[tuple[str, str, int], str] = {}
    for target, some in rows.groupby("target", sort=False):
        for flow, layers in DRAWN:
            found = some[(some["flow"] == flow) & (some["layers"] == (layers or some["layers"]))]
            if len(found):
                middle = found.sort_values("reverse_kl").iloc[(len(found) - 1) // 2]
                picked[str(target), flow, int(middle["layers"])] = middle["directory"]
    if not picked:
        raise ConfigError(f"no finished run to draw; the figure has {', '.join(sorted({flow for flow, _ in DRAWN}))}")
    return picked


def draw(runs: dict[tuple[str, str, int], Run]) -> Any:
    """The exact densities, and beside each those of flows; light to dark, with one scale for each target."""
    titles = [f"planar, K = {layers}" if flow == PLANAR else flow for _, flow, layers in runs]
    return density_panels(**run_densities(list(runs.values()), titles))


def write_record(rows: pandas.DataFrame, runs: dict[tuple[str, str, int], Run], stem: str) -> None:
    """Write the rows, where they come from, and the parameters of the drawn flows.

    Raises:
        ConfigError: the runs come from several commits.
    """
    commits = sorted({str(load_run(place).provenance.get("git_commit")) for place in rows["directory"]})
    if len(commits) > 1:
        raise ConfigError(f"the runs come from several commits, so they are not one record: {', '.join(commits)}")
    kept = rows.drop(columns="directory")
    write_text(Path(f"{stem}.csv"), kept.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    content = {
        "runs": len(rows),
        "command": ["experiments/train.py", "-m", "+sweep=energies"],
        "commit_of_runs": commits[0],
    }
    write_json(Path(f"{stem}.json"), origin() | content | {"training_seconds": float(rows["seconds"].sum())})
    flows: dict[str, np.ndarray] = {}
    for (target, flow, layers), run in runs.items():
        with torch.no_grad():
            vector = torch.nn.utils.parameters_to_vector(run.flow.parameters())
        flows[f"{target}/{flow}/{layers}"] = vector.to(torch.float32).numpy()
    written = io.BytesIO()
    np.savez_compressed(written, **flows)  # type: ignore[arg-type]
    write_bytes(Path(f"{stem}_flows.npz"), written.getvalue())
    for ending in (".csv", ".json", "_flows.npz"):
        print(f"wrote {stem}{ending}")


if __name__ == "__main__":
    sys.exit(main())
