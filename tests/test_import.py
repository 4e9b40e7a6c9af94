"""Imports load only the modules that they need."""

import subprocess
import sys

import pytest


def loaded_modules(code):
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_flowlab_alone_loads_nothing():
    assert not loaded_modules("import flowlab") & {
        "torch",
        "pytorch_lightning",
        "hydra",
        "wandb",
        "matplotlib",
        "pandas",
        "scipy",
    }


def test_bijectors_flows_and_targets_need_only_torch():
    code = "import flowlab, flowlab.bijectors, flowlab.distributions, flowlab.targets"
    code += "; flowlab.Flow; flowlab.StandardNormal"
    modules = loaded_modules(code)
    assert "torch" in modules
    assert not modules & {"pytorch_lightning", "hydra", "wandb", "matplotlib", "pandas", "scipy", "rich"}


@pytest.mark.parametrize("words", [["--help"], ["optimizer.rl=0.1"]], ids=" ".join)
def test_the_command_line_answers_without_torch(words):
    quiet = "with contextlib.redirect_stdout(io.StringIO()):"
    modules = loaded_modules(f"import contextlib, io\nfrom flowlab.cli.main import main\n{quiet}\n    main({words})")
    assert "flowlab" in modules
    assert not modules & {"torch", "pytorch_lightning", "wandb", "matplotlib", "pandas", "scipy"}


def test_training_imports_optional_modules_lazily():
    modules = loaded_modules("import flowlab.cli.main, flowlab.training.train")
    assert "torch" in modules
    assert not modules & {"pytorch_lightning", "pandas", "pyarrow", "wandb", "tensorboard", "jinja2"}


def test_every_public_name_can_be_imported():
    import flowlab

    for name in flowlab.__all__:
        assert getattr(flowlab, name) is not None
    assert set(flowlab.__all__) <= set(dir(flowlab))
