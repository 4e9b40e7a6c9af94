import numpy
import pandas
import pytest
import torch
from summarize import main

from flowlab import ConfigError, compose, load_run, load_sweep
from flowlab.sweeps.table import varied_settings
from flowlab.sweeps.train_many import train_many

QUICK = ("trainer.progress=off", "test_size=200", "validation_size=200", "batch_size=32", "max_steps=20")


def test_table_has_varied_settings_and_results(tmp_path):
    words = [["flow.depth=1"], ["flow.depth=2"], ["flow.depth=2", "optimizer.lr=1e12", "optimizer.schedule=constant"]]
    configs = [compose(*QUICK, *each) for each in words]
    runs = train_many(configs, [tmp_path / str(number) for number in (0, 2, 10)])
    table = load_sweep(tmp_path)
    assert list(table["flow.depth"]) == [1, 2, 2]
    assert list(table["optimizer.lr"]) == [0.01, 0.01, 1e12]
    assert "seed" not in table, "constant settings are left out"
    assert list(table["status"]) == ["done", "done", "failed"]
    assert table["kl"][0] == runs[0].result["kl"]
    assert pandas.isna(table["kl"][2])
    assert [directory.rsplit("/", 1)[1] for directory in table["directory"]] == ["0", "2", "10"]


def test_settings_implied_by_an_option_are_left_out(tmp_path):
    words = [["target=banana"], ["target=gaussian"], ["target=gaussian_full"], ["target=two_moons", "optimizer.clip=1"]]
    configs = [compose(*QUICK, "max_steps=1", *each) for each in words]
    train_many(configs, [tmp_path / str(number) for number in range(4)])
    table = load_sweep(tmp_path)
    assert varied_settings(table) == ["target.name", "target.mean", "optimizer.clip"]
    assert list(table["target.mean"][1:3]) == [[1.0, 1.0], [0.4, 1.0]]
    assert list(table["optimizer.clip"].isna()) == [True, True, True, False]


def test_null_is_a_value_and_an_absent_setting_is_none(tmp_path):
    words = [["optimizer.clip=null"], ["optimizer.clip=1"], ["optimizer.clip=null", "target=gaussian"]]
    train_many([compose(*QUICK, *each) for each in words], [tmp_path / str(number) for number in range(3)])
    clip = load_sweep(tmp_path)["optimizer.clip"]
    assert [value is None for value in clip] == [True, False, True]
    assert clip[1] == 1.0


def test_two_files_of_one_name_stay_two_values(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        numpy.savetxt(tmp_path / folder / "points.csv", numpy.random.default_rng(0).normal(size=(60, 2)), delimiter=",")
    files = ["target=file", *QUICK]
    configs = [compose(*files, f"target.path={tmp_path / folder}/points.csv") for folder in "ab"]
    train_many(configs, [tmp_path / "sweep" / folder for folder in "ab"])
    assert main([str(tmp_path / "sweep"), "--record", str(tmp_path / "record")]) == 0
    assert list(pandas.read_csv(tmp_path / "record.csv")["target.path"]) == ["a/points.csv", "b/points.csv"]


def test_directory_without_runs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no run in it"):
        load_sweep(tmp_path)


def test_results_are_read_without_the_class_of_a_user(tmp_path):
    custom = ["flow=custom", "flow._target_=flowlab.bijectors.LowRankAffine"]
    runs = train_many([compose(*QUICK, *custom, f"+flow.rank={rank}") for rank in (0, 1)], [tmp_path / c for c in "01"])
    for run in runs:  # as written by a package that is not allowed here
        path = run.directory / "config.yaml"
        path.write_text(path.read_text().replace("flowlab.bijectors", "notallowed"))
    table = load_sweep(tmp_path)
    assert list(table["status"]) == ["done", "done"]
    assert list(table["flow.rank"]) == [0, 1]
    assert list(table["kl"]) == [run.result["kl"] for run in runs]


def test_the_flow_of_a_run_asks_for_no_gradient(tmp_path):
    (run,) = train_many([compose(*QUICK)], [tmp_path / "0"])
    assert not load_run(tmp_path / "0").flow.log_prob(torch.zeros(5, 2)).requires_grad
    assert run.load_flow().log_prob(torch.zeros(5, 2)).requires_grad
