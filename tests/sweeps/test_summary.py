"""summarize.py: its output, its files and its exit status."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from summarize import main, without_paths

from flowlab import compose, load_run, load_sweep
from flowlab.plotting import grid_density, run_densities
from flowlab.sweeps.summary import as_latex, runs_table, seeds_table, sweep_figures
from flowlab.sweeps.table import to_csv, varied_settings
from flowlab.sweeps.train_many import train_many

ROOT = Path(__file__).parents[2]
QUICK = ("trainer.progress=off", "test_size=200", "validation_size=200", "batch_size=32", "max_steps=20")
DIVERGES = ("optimizer.lr=1e12", "optimizer.schedule=constant")


@pytest.fixture(scope="module")
def trained_sweep(tmp_path_factory):
    """A finished sweep over two depths and two seeds."""
    directory = tmp_path_factory.mktemp("sweep")
    words = [(f"flow.depth={depth}", f"seed={seed}") for depth in (1, 2) for seed in (0, 1)]
    train_many([compose(*QUICK, *each) for each in words], [directory / str(number) for number in range(4)])
    return directory


@pytest.fixture
def sweep(trained_sweep, tmp_path):
    return Path(shutil.copytree(trained_sweep, tmp_path / "sweep"))


def test_finished_sweep_is_summarized(sweep):
    """Runs the script as a user does."""
    command = [sys.executable, str(ROOT / "experiments/summarize.py"), str(sweep)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    table = load_sweep(sweep)
    for row in table.itertuples():
        assert f"{row.kl:.4f} ± {row.kl_se:.4f}" in said.stdout
    for _, runs in table.groupby("flow.depth"):
        assert f"{runs['kl'].median():.4f}" in said.stdout
    assert "4 runs: 4 done" in said.stdout
    assert "not done" not in said.stdout
    figures = sorted(path.name for path in (sweep / "figures").iterdir())
    assert figures == ["densities.png", "kl_by_depth.png"]
    written = pandas.read_csv(sweep / "summary.csv")
    np.testing.assert_allclose(written["kl"], table["kl"])
    assert list(written["directory"]) == [0, 1, 2, 3]
    assert len(load_sweep(sweep)) == 4, "the written files do not count as runs"


def test_ascii_terminal_shows_the_table(sweep):
    command = [sys.executable, str(ROOT / "experiments/summarize.py"), str(sweep)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")
    row = load_sweep(sweep).iloc[0]
    assert f"{row.kl:.4f} +- {row.kl_se:.4f}" in said.stdout


def test_unfinished_runs_are_listed(sweep, capsys):
    train_many([compose(*QUICK, *DIVERGES, "flow.depth=2")], [sweep / "4"])
    (sweep / "1/status.json").write_text('{"status": "running"}\n')
    (sweep / "1/result.json").unlink()
    (sweep / "2/result.json").write_text('{"kl": 0.1')
    (sweep / "3/config.yaml").unlink()
    assert main([str(sweep)]) == 1
    printed = capsys.readouterr()
    assert "5 runs: 2 unreadable, 1 done, 1 running, 1 failed" in printed.out
    for error in ("DivergedError: the loss is not finite", "result.json: cannot be read", "there is no config.yaml"):
        assert error in printed.out
    assert "Traceback" not in printed.out + printed.err
    table = load_sweep(sweep)
    assert list(table["status"]) == ["done", "running", "unreadable", "unreadable", "failed"]
    assert list(table["flow.depth"].isna()) == [False, False, False, True, False]
    assert list(table["error"].isna()) == [True, True, False, False, False]


def test_sweep_without_results_has_no_figures(sweep, capsys):
    for number in range(4):
        (sweep / f"{number}/result.json").unlink()
        (sweep / f"{number}/status.json").write_text('{"status": "running"}\n')
    assert main([str(sweep)]) == 1
    assert "4 runs: 4 running" in capsys.readouterr().out
    assert not (sweep / "figures").exists()


def test_mistake_is_reported_in_one_line(sweep, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for directory, said in (
        (tmp_path / "none", "none: there is no such directory"),
        (tmp_path / "empty", "empty: there is no run in it"),
        (sweep / "0", "is a run; a sweep is the directory above"),
    ):
        assert main([str(directory)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert main([str(sweep), "--record", str(tmp_path / "file/name")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_record_holds_table_and_origin(sweep, tmp_path, capsys):
    (sweep / "manifest.json").write_text('{"words": [], "jobs": [], "seconds": 12.5}')
    for number in range(4):
        path = sweep / f"{number}/provenance.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"time": f"2026-01-0{3 - number % 3}T00:00:00"}))
    for name in ("a", "b.csv"):
        assert main([str(sweep), "--record", str(tmp_path / "results" / name)]) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert sorted(files) == ["a.csv", "a.json", "b.csv", "b.json"]
    assert (files["a.csv"], files["a.json"]) == (files["b.csv"], files["b.json"])
    assert not any(str(part).encode() in content for content in files.values() for part in (tmp_path, Path.home()))
    table, recorded = load_sweep(sweep), pandas.read_csv(tmp_path / "results/a.csv")
    kept = [name for name in table if name not in ("directory", "error")]
    pandas.testing.assert_frame_equal(recorded, table[kept], check_dtype=False)
    origin = json.loads(files["a.json"])
    first = load_run(sweep / "0").provenance
    for name in ("git_commit", "git_dirty", "packages", "device", "threads", "python"):
        assert origin[name] == first[name]
    assert (origin["runs"], origin["status"], origin["wall_seconds"]) == (4, {"done": 4}, 12.5)
    assert origin["begun"] == "2026-01-01T00:00:00", "the time of the first run"
    assert origin["training_seconds"] == pytest.approx(table["seconds"].sum(), abs=1e-3)


def test_record_has_the_errors_of_failed_runs(sweep, tmp_path):
    train_many([compose(*QUICK, *DIVERGES, "flow.depth=2")], [sweep / "4"])
    assert main([str(sweep), "--record", str(tmp_path / "record")]) == 1
    recorded = pandas.read_csv(tmp_path / "record.csv")
    assert list(recorded["status"]) == [*["done"] * 4, "failed"]
    assert list(recorded["error"].isna()) == [True] * 4 + [False]
    assert recorded["error"].iloc[4].startswith("DivergedError: the loss is not finite at step")


def test_record_has_a_curve_for_every_run(sweep, tmp_path, capsys):
    """Runs are columns and steps are rows, even if runs logged different steps or failed at once."""
    steps = np.arange(100, 25_001, 100)
    values = 5 + np.sin(steps) / 3
    pandas.DataFrame({"step": steps, "loss": values, "nll": np.nan}).to_csv(sweep / "1/metrics.csv", index=False)
    pandas.DataFrame({"step": steps[:2], "loss": [1.0, 2.0], "nll": [3.0, np.nan]}).to_csv(
        sweep / "2/metrics.csv", index=False
    )
    (sweep / "3/metrics.csv").unlink()
    assert main([str(sweep), "--record", str(tmp_path / "a.csv"), "--curve", "loss", "--curve", "nll"]) == 0
    assert f"wrote {tmp_path / 'a_loss.csv'}" in capsys.readouterr().out
    curves = pandas.read_csv(tmp_path / "a_loss.csv", index_col="step")
    assert list(curves.columns) == ["0", "1", "2", "3"]
    assert 60 <= len(curves) <= 100
    assert list(curves.index[:3]) == [20, 100, 200], "all first steps; run 0 logged step 20"
    assert list(curves.index[-2:]) == [24_500, 25_000]
    logged = pandas.Series(values, index=steps)
    np.testing.assert_allclose(curves["1"].dropna(), logged[curves["1"].dropna().index], rtol=5e-5)
    assert curves["1"].count() == len(curves) - 1
    assert curves["0"].dropna().to_dict() == pytest.approx({20: load_run(sweep / "0").metrics["loss"].item()}, rel=5e-5)
    assert curves["3"].count() == 0
    assert all(len(number.replace(".", "")) <= 5 for number in (tmp_path / "a_loss.csv").read_text().split(",")[6::4])
    extremes = pandas.read_csv(tmp_path / "a.csv")[["loss_first", "loss_largest", "loss_last"]]
    assert list(extremes.iloc[1]) == pytest.approx([values[0], values.max(), values[-1]], rel=5e-5)
    assert list(extremes.iloc[2]) == [1.0, 2.0, 2.0]
    assert extremes.iloc[3].isna().all()
    assert (tmp_path / "a_nll.csv").read_text() == "step,0,1,2,3\n20,{:.5g},,,\n100,,,3,\n".format(
        load_run(sweep / "0").metrics["nll"].item()
    )


def test_curve_without_values_is_refused(sweep, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(sweep), "--curve", "loss"])
    assert ended.value.code == 2
    assert "--record PATH" in capsys.readouterr().err
    before = sorted(sweep.rglob("*"))
    assert main([str(sweep), "--record", str(tmp_path / "a"), "--curve", "los"]) == 2
    assert "--curve los: runs log no such metric; they log loss, nll" in capsys.readouterr().err
    assert sorted(sweep.rglob("*")) == before, "a mistake writes nothing"
    for number in range(4):
        (sweep / f"{number}/metrics.csv").write_text("step,loss,nll,grad_norm\n")
    assert main([str(sweep), "--record", str(tmp_path / "a"), "--curve", "grad_norm"]) == 2
    assert "no run has a value of grad_norm" in capsys.readouterr().err


def test_record_of_several_commits_is_refused(sweep, tmp_path, capsys):
    path = sweep / "3/provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"git_commit": "f" * 40}))
    assert main([str(sweep), "--record", str(tmp_path / "record")]) == 2
    assert "several commits, so they are not one record: " in capsys.readouterr().err
    assert not list(tmp_path.glob("record*"))


def test_panels_have_the_densities_of_the_runs(trained_sweep):
    run = load_run(trained_sweep / "3")
    panels = run_densities([run], ["depth 2"])
    assert panels["titles"] == ["exact density", "depth 2"]
    assert panels["columns"] == ["x1", "x2"]
    exact, learned = (np.asarray(density) for density in panels["densities"])
    like = next(run.flow.parameters())
    np.testing.assert_allclose(exact, grid_density(run.target, run.target.bounds, like, len(exact)))
    np.testing.assert_allclose(learned, grid_density(run.flow, run.target.bounds, like, len(learned)))


def make_table(**settings):
    rows = pandas.MultiIndex.from_product(settings.values(), names=settings).to_frame(index=False)
    return rows.assign(kl=1.0, kl_se=0.1, nll=2.0, nll_se=0.1, status="done", error=None, directory="none")


def test_seeds_table_has_median_and_range():
    table = make_table(**{"flow.depth": [1, 2], "seed": [0, 1, 2]}).assign(kl=[1.0, 2.0, 9.0, 4.0, np.nan, 5.0])
    seeds = seeds_table(table)
    assert list(seeds["median nll (nats)"]) == ["2.0000", "2.0000"], "one run has no KL, so the table shows the nll"
    seeds = seeds_table(table.assign(status=table["kl"].isna().map({False: "done", True: "failed"})))
    assert list(seeds["done"]) == ["3 of 3", "2 of 3"]
    assert list(seeds["median kl (nats)"]) == ["2.0000", "4.5000"]
    assert list(seeds["least"]) == ["1.0000", "4.0000"]
    assert list(seeds["greatest"]) == ["9.0000", "5.0000"]


def test_settings_are_grouped_by_value():
    """Files of one name, numbers that round alike, and null are values of their own."""
    paths = ["/data/a/points.csv", "/data/b/points.csv", "/data/b/c/moons.csv"]
    table = make_table(**{"target.path": paths, "seed": [0, 1]})
    assert list(seeds_table(table)["target.path"]) == ["a/points.csv", "b/points.csv", "moons.csv"]
    assert list(runs_table(table)["target.path"][::2]) == ["a/points.csv", "b/points.csv", "moons.csv"]
    table = make_table(**{"optimizer.lr": [0.1234567, 0.1234568], "seed": [0, 1]})
    assert list(seeds_table(table)["optimizer.lr"]) == ["0.1234567", "0.1234568"]
    for others in ({}, {"flow.depth": [1]}):
        table = make_table(**{"optimizer.clip": [1, 2], "seed": [0, 1], **others})
        table["optimizer.clip"] = pandas.Series([None, None, 2.0, 2.0], dtype=object)
        assert list(seeds_table(table)["optimizer.clip"]) == ["null", "2"]
        assert list(runs_table(table)["optimizer.clip"]) == ["null", "null", "2", "2"]
        assert to_csv(table).splitlines()[1].startswith("null,0,")


def test_seeds_table_has_mean_and_standard_error():
    table = make_table(**{"flow.depth": [1, 2], "seed": [0, 1, 2]}).assign(kl=[1.0, 2.0, 9.0, 4.0, np.nan, np.nan])
    table["status"] = table["kl"].isna().map({False: "done", True: "failed"})
    seeds = seeds_table(table, "mean")
    assert list(seeds["mean kl (nats)"]) == ["4.0000 ± 2.5166", "4.0000"]  # sqrt(19 / 3)
    assert list(seeds) == ["flow.depth", "done", "mean kl (nats)"]


def test_tables_are_printed_for_a_document(sweep, capsys):
    mean = load_sweep(sweep).groupby("flow.depth")["kl"].agg(["mean", "sem"]).loc[1]
    text = f"{mean['mean']:.4f} ± {mean['sem']:.4f}"
    assert main([str(sweep), "--statistic", "mean", "--format", "markdown"]) == 0
    printed = capsys.readouterr()
    assert f"| depth | done | mean kl (nats) |\n|---|---|---|\n| 1 | 2 of 2 | {text} |" in printed.out
    assert "4 runs: 4 done" in printed.err
    assert main([str(sweep), "--statistic", "mean", "--format", "latex"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(r"\begin{tabular}") == printed.count(r"\end{tabular}") == 2
    assert f"1 & 2 of 2 & {text} ".replace("±", r"$\pm$") + r"\\" in printed
    assert as_latex(pandas.DataFrame({"flow.activation": ["smooth_prelu & 50%"]})).splitlines()[4] == (
        r"smooth\_prelu \& 50\% \\"
    )


@pytest.mark.parametrize(
    ("settings", "figures"),
    [
        ({"seed": [0, 1]}, []),
        ({"flow.depth": [1, 2], "flow.rank": [0, 1], "seed": [0, 1]}, ["kl_by_depth"]),
        ({"flow.activation": ["prelu", "smooth_prelu"], "flow.slope": ["scalar", "vector"]}, ["kl_by_activation"]),
        ({"target.name": ["banana", "funnel"], "flow.depth": [1, 2], "seed": [0]}, ["kl_by_target_and_depth"]),
        (
            {"target.name": ["banana", "funnel"], "flow.depth": [1, 2], "flow.rank": [0, 1]},
            ["kl_by_depth_banana", "kl_by_depth_funnel"],
        ),
        ({"target.name": ["banana", "funnel"], "seed": [0, 1]}, ["kl_by_target"]),
        ({"target.train_size": [100, 1000]}, ["kl_by_train_size"]),
    ],
)
def test_varied_settings_decide_the_figures(settings, figures):
    table = make_table(**settings)
    drawn = sweep_figures(table)
    assert list(drawn) == ["densities", *figures]
    for name in figures:
        assert drawn[name]().axes
    assert varied_settings(table) == list(settings)


def test_absolute_paths_are_cut_to_their_last_part():
    words = ["/opt/bin/train.py", "seed=0,1", "hydra.sweep.dir='/home/me/a b'", "flow/mlp"]
    assert without_paths(words) == ["train.py", "seed=0,1", "hydra.sweep.dir='a b'", "flow/mlp"]
