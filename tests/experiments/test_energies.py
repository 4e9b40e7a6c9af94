"""The script of the energies: it reads sweeps, says which goals are reached, draws, and writes a record."""

import energies
import numpy as np
import pandas
import pytest
import torch

from flowlab import compose, load_run
from flowlab.cli.main import main
from flowlab.cli.product import list_jobs
from flowlab.config.compose import compose_yaml, parse_overrides
from flowlab.training.build import build

SWEEP = ["-m", "+sweep=energies", "target=u2", "flow=planar_samples", "optimizer.lr=0.01", "seed=0,1"]
QUICK = ["max_steps=6", "objective.anneal=2", "batch_size=32", "test_size=200", "validation_size=200"]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Two directories, as if the sweep had been taken in two parts."""
    places = [tmp_path_factory.mktemp("energies") / name for name in ("first", "second")]
    for place, depth in zip(places, ("2", "8"), strict=True):
        assert main([*SWEEP, *QUICK, f"flow.depth={depth}", "trainer.progress=off", f"hydra.sweep.dir={place}"]) == 0
    return places


def test_it_reads_sweeps_and_writes_a_record(sweeps, tmp_path, capsys):
    stem = tmp_path / "record"
    assert energies.main([*map(str, sweeps), "--record", str(stem), "--figure", str(tmp_path / "figure.png")]) == 0
    said, rows = capsys.readouterr().out, pandas.read_csv(f"{stem}.csv")
    assert list(rows.columns) == energies.COLUMNS
    assert rows[["target", "flow", "layers", "seed"]].to_numpy().tolist() == [
        ["u2", "planar_samples", layers, seed] for layers in (2, 8) for seed in (0, 1)
    ]
    result = load_run(sweeps[0] / "0").result
    assert rows["reverse_kl"][0] == pytest.approx(result["reverse_kl"], rel=1e-5)
    assert rows["kl"][0] == pytest.approx(result["kl"], rel=1e-5)
    assert f"{rows['reverse_kl'][:2].median():.4f} (" in said
    assert "no reverse KL below -3 standard errors" in said
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "record.json").is_file()


def test_the_record_rebuilds_the_flows_of_the_figure(sweeps, tmp_path):
    energies.main([*map(str, sweeps), "--record", str(tmp_path / "record")])
    recorded = np.load(tmp_path / "record_flows.npz")
    assert sorted(recorded) == ["u2/planar_samples/2", "u2/planar_samples/8"]
    rows, _ = energies.read_rows(sweeps[0])
    ((_, place),) = energies.pick_drawn(rows).items()
    words = ("target=u2", "flow=planar_samples", "flow.depth=2", "objective=reverse_kl")
    flow = build(compose(*words)).flow
    torch.nn.utils.vector_to_parameters(torch.tensor(recorded["u2/planar_samples/2"]), flow.parameters())
    points = torch.rand(10, 2)
    assert torch.equal(flow.log_prob(points), load_run(place).flow.log_prob(points))


def test_equal_runs_of_two_sweeps_are_refused(sweeps, capsys):
    assert energies.main([str(sweeps[0]), str(sweeps[0])]) == 2
    assert "two sweeps hold the same runs" in capsys.readouterr().err


def test_a_directory_without_a_sweep_is_refused(tmp_path, capsys):
    assert energies.main([str(tmp_path)]) == 2
    assert "not the directory of a sweep" in capsys.readouterr().err


def table(values, target="u2", flow="planar_samples"):
    """Return rows with the reverse KL of one seed for each number of layers."""
    rows = [(target, flow, layers, 0, value, 0.01) for layers, value in values.items()]
    return pandas.DataFrame(rows, columns=["target", "flow", "layers", "seed", "reverse_kl", "reverse_kl_se"])


def test_goals_that_are_reached_and_missed():
    reached = pandas.concat([table({2: 0.5, 8: 0.2, 32: 0.1}), table({3: 0.009}, flow="nsf")])
    assert [line.split(":")[0] for line in energies.describe_goals(reached)] == ["reached"] * 3
    missed = pandas.concat([table({2: 0.5, 8: 0.2, 32: 0.3}), table({3: -0.04}, flow="nsf")])
    assert [line.split(":")[0] for line in energies.describe_goals(missed)] == ["MISSED", "MISSED", "reached"]
    assert "the least is -4.0" in energies.describe_goals(missed)[0]
    late = table({3: 0.02}, flow="nsf")
    assert energies.describe_goals(late)[-1] == "MISSED: nsf on u2 at most 0.01 nats; the median is 0.0200"


def test_the_drawn_seed_has_the_median():
    rows = pandas.concat([table({2: value}).assign(directory=str(value)) for value in (0.3, 0.1, 0.2)])
    assert energies.pick_drawn(rows) == {("u2", "planar_samples", 2): "0.2"}


def test_the_sweep_has_five_seeds_of_seven_flows_on_four_energies():
    settings = compose_yaml(["+sweep=energies"], hydra_settings=True).hydra.sweeper.params
    jobs = list_jobs(parse_overrides([f"{key}={value}" for key, value in settings.items()]))
    assert len(jobs) == len(set(map(tuple, jobs))) == 4 * 7 * 5
    words = [dict(word.split("=") for word in job) for job in jobs]
    planar = [word for word in words if word["flow"] == energies.PLANAR]
    assert {word["flow.depth"] for word in planar} == {"2", "8", "32"}
    assert {word["target"] for word in planar} == {"u1", "u2", "u3", "u4"}
    assert energies.BESIDE in {word["flow"] for word in words}
    assert len({word["seed"] for word in words}) == 5
