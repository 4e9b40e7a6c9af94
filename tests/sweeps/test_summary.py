"""summarize.py: what it prints, writes and exits with."""

import json
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
from flowlab.sweeps.summary import seeds_table, sweep_figures
from flowlab.sweeps.table import varied_settings
from flowlab.sweeps.train_many import train_many

ROOT = Path(__file__).parents[2]
QUICK = ("trainer.progress=off", "test_size=200", "validation_size=200", "batch_size=32", "max_steps=20")
DIVERGES = ("optimizer.lr=1e12", "optimizer.schedule=constant")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two depths, two seeds."""
    directory = tmp_path_factory.mktemp("sweep")
    words = [(f"flow.depth={depth}", f"seed={seed}") for depth in (1, 2) for seed in (0, 1)]
    train_many([compose(*QUICK, *each) for each in words], [directory / str(number) for number in range(4)])
    return directory


@pytest.fixture
def done(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "sweep"))


def test_a_sweep_that_is_done(done):
    """As a user types it."""
    command = [sys.executable, str(ROOT / "experiments/summarize.py"), str(done)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    table = load_sweep(done)
    for row in table.itertuples():
        assert f"{row.kl:.4f} ± {row.kl_se:.4f}" in said.stdout
    for _, runs in table.groupby("flow.depth"):
        assert f"{runs['kl'].median():.4f}" in said.stdout
    assert "4 runs: 4 done" in said.stdout
    assert "not done" not in said.stdout
    figures = sorted(path.name for path in (done / "figures").iterdir())
    assert figures == ["densities.png", "kl_by_depth.png"]
    written = pandas.read_csv(done / "summary.csv")
    np.testing.assert_allclose(written["kl"], table["kl"])
    assert list(written["directory"]) == [0, 1, 2, 3]
    assert len(load_sweep(done)) == 4, "what was written is not taken for a run"


def test_runs_that_are_not_done_are_listed(done, capsys):
    train_many([compose(*QUICK, *DIVERGES, "flow.depth=2")], [done / "4"])
    (done / "1/status.json").write_text('{"status": "running"}\n')
    (done / "1/result.json").unlink()
    (done / "2/result.json").write_text('{"kl": 0.1')
    (done / "3/config.yaml").unlink()
    assert main([str(done)]) == 1
    printed = capsys.readouterr()
    assert "5 runs: 2 unreadable, 1 done, 1 running, 1 failed" in printed.out
    for error in ("DivergedError: the loss is not finite", "result.json: cannot be read", "there is no config.yaml"):
        assert error in printed.out
    assert "Traceback" not in printed.out + printed.err
    table = load_sweep(done)
    assert list(table["status"]) == ["done", "running", "unreadable", "unreadable", "failed"]
    assert list(table["flow.depth"].isna()) == [False, False, False, True, False]
    assert list(table["error"].isna()) == [True, True, False, False, False]


def test_nothing_is_done(done, capsys):
    for number in range(4):
        (done / f"{number}/result.json").unlink()
        (done / f"{number}/status.json").write_text('{"status": "running"}\n')
    assert main([str(done)]) == 1
    assert "4 runs: 4 running" in capsys.readouterr().out
    assert not (done / "figures").exists()


def test_mistakes_are_answered_in_a_line(done, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for directory, said in (
        (tmp_path / "none", "none: there is no such directory"),
        (tmp_path / "empty", "empty: there is no run in it"),
        (done / "0", "is a run; a sweep is the directory above"),
    ):
        assert main([str(directory)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert main([str(done), "--record", str(tmp_path / "file/name")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_a_record(done, tmp_path, capsys):
    (done / "manifest.json").write_text('{"words": [], "jobs": [], "seconds": 12.5}')
    for number in range(4):
        path = done / f"{number}/provenance.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"time": f"2026-01-0{3 - number % 3}T00:00:00"}))
    for name in ("a", "b.csv"):
        assert main([str(done), "--record", str(tmp_path / "results" / name)]) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert sorted(files) == ["a.csv", "a.json", "b.csv", "b.json"]
    assert (files["a.csv"], files["a.json"]) == (files["b.csv"], files["b.json"])
    assert not any(str(part).encode() in content for content in files.values() for part in (tmp_path, Path.home()))
    table, recorded = load_sweep(done), pandas.read_csv(tmp_path / "results/a.csv")
    kept = [name for name in table if name not in ("directory", "error")]
    pandas.testing.assert_frame_equal(recorded, table[kept], check_dtype=False)
    origin = json.loads(files["a.json"])
    first = load_run(done / "0").provenance
    for name in ("git_commit", "git_dirty", "packages", "device", "threads", "python"):
        assert origin[name] == first[name]
    assert (origin["runs"], origin["status"], origin["wall_seconds"]) == (4, {"done": 4}, 12.5)
    assert origin["begun"] == "2026-01-01T00:00:00", "with the first run"
    assert origin["training_seconds"] == pytest.approx(table["seconds"].sum(), abs=1e-3)


def test_a_record_says_why_runs_failed(done, tmp_path):
    train_many([compose(*QUICK, *DIVERGES, "flow.depth=2")], [done / "4"])
    assert main([str(done), "--record", str(tmp_path / "record")]) == 1
    recorded = pandas.read_csv(tmp_path / "record.csv")
    assert list(recorded["status"]) == [*["done"] * 4, "failed"]
    assert list(recorded["error"].isna()) == [True] * 4 + [False]
    assert recorded["error"].iloc[4].startswith("DivergedError: the loss is not finite at step")


def test_a_curve_of_a_record(done, tmp_path, capsys):
    """Every run has its column, and a step its row, where runs logged different steps or have failed at once."""
    steps = np.arange(100, 25_001, 100)
    values = 5 + np.sin(steps) / 3
    pandas.DataFrame({"step": steps, "loss": values, "nll": np.nan}).to_csv(done / "1/metrics.csv", index=False)
    pandas.DataFrame({"step": steps[:2], "loss": [1.0, 2.0], "nll": [3.0, np.nan]}).to_csv(
        done / "2/metrics.csv", index=False
    )
    (done / "3/metrics.csv").unlink()
    assert main([str(done), "--record", str(tmp_path / "a.csv"), "--curve", "loss", "--curve", "nll"]) == 0
    assert f"wrote {tmp_path / 'a_loss.csv'}" in capsys.readouterr().out
    curves = pandas.read_csv(tmp_path / "a_loss.csv", index_col="step")
    assert list(curves.columns) == ["0", "1", "2", "3"]
    assert 60 <= len(curves) <= 100
    assert list(curves.index[:3]) == [20, 100, 200], "the beginning, and run 0 was logged at step 20"
    assert list(curves.index[-2:]) == [24_500, 25_000]
    logged = pandas.Series(values, index=steps)
    np.testing.assert_allclose(curves["1"].dropna(), logged[curves["1"].dropna().index], rtol=5e-5)
    assert curves["1"].count() == len(curves) - 1
    assert curves["0"].dropna().to_dict() == pytest.approx({20: load_run(done / "0").metrics["loss"].item()}, rel=5e-5)
    assert curves["3"].count() == 0
    assert all(len(number.replace(".", "")) <= 5 for number in (tmp_path / "a_loss.csv").read_text().split(",")[6::4])
    extremes = pandas.read_csv(tmp_path / "a.csv")[["loss_first", "loss_largest", "loss_last"]]
    assert list(extremes.iloc[1]) == pytest.approx([values[0], values.max(), values[-1]], rel=5e-5)
    assert list(extremes.iloc[2]) == [1.0, 2.0, 2.0]
    assert extremes.iloc[3].isna().all()
    assert (tmp_path / "a_nll.csv").read_text() == "step,0,1,2,3\n20,{:.5g},,,\n100,,,3,\n".format(
        load_run(done / "0").metrics["nll"].item()
    )


def test_a_curve_that_cannot_be_written(done, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(done), "--curve", "loss"])
    assert ended.value.code == 2
    assert "--record PATH" in capsys.readouterr().err
    before = sorted(done.rglob("*"))
    assert main([str(done), "--record", str(tmp_path / "a"), "--curve", "los"]) == 2
    assert "--curve los: runs log no such metric; they log loss, nll" in capsys.readouterr().err
    assert sorted(done.rglob("*")) == before, "a mistake writes nothing"
    for number in range(4):
        (done / f"{number}/metrics.csv").write_text("step,loss,nll,grad_norm\n")
    assert main([str(done), "--record", str(tmp_path / "a"), "--curve", "grad_norm"]) == 2
    assert "no run has a value of grad_norm" in capsys.readouterr().err


def test_runs_of_several_commits_are_no_record(done, tmp_path, capsys):
    path = done / "3/provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"git_commit": "f" * 40}))
    assert main([str(done), "--record", str(tmp_path / "record")]) == 2
    assert "several commits, so they are not one record: " in capsys.readouterr().err
    assert not list(tmp_path.glob("record*"))


def test_panels_hold_the_densities_of_the_runs(trained):
    run = load_run(trained / "3")
    panels = run_densities([run], ["depth 2"])
    assert panels["titles"] == ["exact density", "depth 2"]
    assert panels["columns"] == ["x1", "x2"]
    exact, learned = (np.asarray(density) for density in panels["densities"])
    like = next(run.flow.parameters())
    np.testing.assert_allclose(exact, grid_density(run.target, run.target.bounds, like, len(exact)))
    np.testing.assert_allclose(learned, grid_density(run.flow, run.target.bounds, like, len(learned)))


def table_of(**settings):
    rows = pandas.MultiIndex.from_product(settings.values(), names=settings).to_frame(index=False)
    return rows.assign(kl=1.0, kl_se=0.1, nll=2.0, nll_se=0.1, status="done", error=None, directory="none")


def test_over_seeds_the_median_and_the_range():
    table = table_of(**{"flow.depth": [1, 2], "seed": [0, 1, 2]}).assign(kl=[1.0, 2.0, 9.0, 4.0, np.nan, 5.0])
    seeds = seeds_table(table)
    assert list(seeds["median nll (nats)"]) == ["2.0000", "2.0000"], "not every run that is done has a KL"
    seeds = seeds_table(table.assign(status=table["kl"].isna().map({False: "done", True: "failed"})))
    assert list(seeds["done"]) == ["3 of 3", "2 of 3"]
    assert list(seeds["median kl (nats)"]) == ["2.0000", "4.5000"]
    assert list(seeds["least"]) == ["1.0000", "4.0000"]
    assert list(seeds["greatest"]) == ["9.0000", "5.0000"]


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
def test_the_figures_follow_from_what_varied(settings, figures):
    table = table_of(**settings)
    drawn = sweep_figures(table)
    assert list(drawn) == ["densities", *figures]
    for name in figures:
        assert drawn[name]().axes
    assert varied_settings(table) == list(settings)


def test_absolute_paths_are_cut_to_their_last_part():
    words = ["/opt/bin/train.py", "seed=0,1", "hydra.sweep.dir='/home/me/a b'", "flow/mlp"]
    assert without_paths(words) == ["train.py", "seed=0,1", "hydra.sweep.dir='a b'", "flow/mlp"]
