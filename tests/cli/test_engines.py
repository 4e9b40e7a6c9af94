"""Messages where Ray, Slurm or Optuna is not installed; tests/engines/ runs the real ones."""

import pytest

from flowlab.cli import engines
from flowlab.cli.jobs import expand
from flowlab.cli.main import main

ENGINES = {
    "hydra/launcher=slurm": "pip install '.[slurm]'",
    "hydra/launcher=ray_cluster": "pip install --no-deps hydra-ray-launcher",
    "+sweep=search": "this extra is not installed; in a clone of flowlab, run pip install '.[optuna]'",
}


@pytest.mark.parametrize("word", ENGINES)
def test_a_missing_extra_is_named(word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert main(["-m", word, "seed=0,1"]) == 2
    assert ENGINES[word] in capsys.readouterr().err
    assert main([word]) == 2
    assert "needs -m" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_missing_slurm_is_named(monkeypatch, capsys):
    monkeypatch.setattr(engines, "find_spec", lambda name: name)
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    assert main(["-m", "hydra/launcher=slurm", "seed=0,1"]) == 2
    assert capsys.readouterr().err == (
        "flowlab: hydra/launcher=slurm: there is no Slurm on this machine, as sbatch is not found; "
        "use another launcher\n"
    )


def test_the_bounds_of_a_search_are_checked(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "find_spec", lambda name: name)
    jobs = expand(["+sweep=search", "seed=3"])
    assert [[word for word in job if "depth" in word] for job in jobs] == [["flow.depth=1"], ["flow.depth=8"]]
    assert all("seed=3" in job for job in jobs)
    assert main(["-m", "+sweep=search", "flow.smoothness=interval(-1.0,1.0)"]) == 2
    assert "flow.smoothness=-1.0: must be" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
