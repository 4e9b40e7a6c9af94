"""Code outside the allow-list is refused before it is imported; secrets are recognized, removed, and refused."""

import os
import sys

import pytest
from omegaconf import OmegaConf

import flowlab
from flowlab import ConfigError, compose
from flowlab.bijectors import Bijector
from flowlab.config.compose import compose_yaml
from flowlab.config.schema import to_config
from flowlab.config.security import (
    REDACTED,
    allowed_packages,
    check_name,
    check_targets,
    check_written,
    is_secret_setting,
    load_class,
    redact,
    redact_command,
    secret_in,
)
from flowlab.flow import Flow

KINDS = (Bijector, Flow)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A package that leaves a mark when it is imported, and one when a function of it is called."""
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
        f"def call(*args, **keywords): Path({str(tmp_path / 'called')!r}).touch()\n"
        "from flowlab.bijectors import Sigmoid\n"
        "import os\n"
        "class Own(Sigmoid): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("FLOWLAB_ALLOW", raising=False)
    yield tmp_path
    sys.modules.pop("planted", None)
    assert not (tmp_path / "called").exists()


def test_a_package_that_is_not_allowed_is_not_imported(planted):
    with pytest.raises(ConfigError, match=r"flow._target_=planted.Own: the package planted is not allowed; .*ALLOW=pl"):
        load_class("flow._target_", "planted.Own", KINDS)
    with pytest.raises(ConfigError, match="planted is not allowed"):
        compose("flow=custom", "flow._target_=planted.Own")
    assert not (planted / "imported").exists()


def test_package_is_allowed_by_its_full_name(planted, monkeypatch):
    monkeypatch.setenv("FLOWLAB_ALLOW", "other, planted")
    assert load_class("flow._target_", "planted.Own", KINDS).__name__ == "Own"
    assert (planted / "imported").exists()
    monkeypatch.setenv("FLOWLAB_ALLOW", "plant")  # a package, and not the beginning of a word
    with pytest.raises(ConfigError, match="is not allowed"):
        load_class("flow._target_", "planted.Own", KINDS)


def test_allow_in_python_reaches_processes_that_start_later(monkeypatch):
    monkeypatch.setenv("FLOWLAB_ALLOW", "one")
    flowlab.allow("two", "one")
    assert allowed_packages() == ["one", "two"]
    assert os.environ["FLOWLAB_ALLOW"] == "one,two"
    for name in ("*", "", "a b", "../x", "a-b"):
        with pytest.raises(ConfigError, match="is not the name of a package"):
            flowlab.allow(name)
    assert allowed_packages() == ["one", "two"]
    monkeypatch.setenv("FLOWLAB_ALLOW", "*")
    with pytest.raises(ConfigError, match=r"FLOWLAB_ALLOW: '\*' is not"):
        check_name("flow._target_", "os.system")


@pytest.mark.parametrize(
    ("path", "complaint"),
    {
        "flowlab.system.files.os.system": "cannot be imported",  # through a module to what it imports
        "flowlab.system.files.os": "must be a class",
        "flowlab.training.train.pl.Trainer": "cannot be imported",
        "flowlab.system.files.write_text": "must be a class",
        "flowlab.cli.jobs.Path": "must be a class derived from flowlab.bijectors.base.Bijector or flowlab.flow.Flow",
        "flowlab.flow.Flow.__init__": "cannot be imported",
        "flowlab.flow.Nope": "has no attribute 'Nope'",
        "functools.partial": "functools is not allowed",
        "builtins.eval": "builtins is not allowed",
        "flowlab": "must be the name of a class",
        "flowlab..flow.Flow": "must be the name of a class",
        "flowlab.flow.Flow()": "must be the name of a class",
        "flowlabs.flow.Flow": "flowlabs is not allowed",
        "flowlab/flow.Flow": "must be the name of a class",
        "": "must be the name of a class",
        None: "must be the name of a class",
        7: "must be the name of a class",
    }.items(),
)
def test_bypasses_of_the_allow_list_are_refused(path, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load_class("flow._target_", path, KINDS)


def test_a_class_is_allowed_where_it_is_defined(planted, monkeypatch):
    """A class that an allowed module has imported is refused."""
    import planted as module

    monkeypatch.setenv("FLOWLAB_ALLOW", "planted")
    monkeypatch.setattr(module, "Foreign", type("Foreign", (Bijector,), {"__module__": "elsewhere"}), raising=False)
    with pytest.raises(ConfigError, match="is defined in elsewhere, which is not allowed"):
        load_class("flow._target_", "planted.Foreign", KINDS)


SEARCH = "+sweep=search"


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["hydra.launcher._target_=planted.call"], "hydra.launcher._target_=planted.call"),
        (["hydra.sweeper._target_=planted.call"], "hydra.sweeper._target_=planted.call"),
        (["hydra.launcher._target_=functools.partial"], "functools"),
        ([SEARCH, "hydra.sweeper.sampler._target_=os.system"], "hydra.sweeper.sampler._target_=os.system"),
        ([SEARCH, "hydra.sweeper.sampler._target_=optuna.samplers.os.system"], "optuna is not allowed"),
        ([SEARCH, "+hydra.sweeper.sampler.x={_target_: os.system}"], "hydra.sweeper.sampler.x._target_=os.system"),
        ([SEARCH, "+hydra.sweeper.sampler.x=[{_target_: os.system}]"], "hydra.sweeper.sampler.x[0]._target_"),
        ([SEARCH, "hydra.sweeper.sampler._target_=${dtype}", "dtype=os.system"], "_target_=os.system"),
        ([SEARCH, "hydra.sweeper.custom_search_space=planted.call"], "custom_search_space=planted.call"),
        (["+flow.x={_target_: os.system, _partial_: true, _args_: [id]}"], "flow.x._target_=os.system"),
        (["+hydra.callbacks.x._target_=planted.call"], "+hydra.callbacks.x._target_"),
        (["hydra={callbacks: {x: {_target_: planted.call}}}"], "flowlab does not pass this setting to Hydra"),
        (["+flow@hydra.callbacks=prelu"], "+flow@hydra.callbacks"),
        (["hydra/launcher@hydra.callbacks=basic"], "hydra/launcher@hydra.callbacks"),
        (["+hydra.job_logging.handlers={x: {class: planted.call}}"], "hydra.job_logging.handlers"),
        (["+hydra.hydra_logging.handlers.x={class: planted.call}"], "hydra.hydra_logging.handlers"),
        (["hydra.searchpath=[file:///tmp]"], "hydra.searchpath"),
        (["+hydra.job.env_set.LD_PRELOAD=x.so"], "+hydra.job.env_set.LD_PRELOAD"),
        (["hydra.mode=MULTIRUN"], "hydra.mode"),
        (["~hydra.launcher._target_"], "hydra.launcher"),
        (["experiment=../../evil"], "experiment=../../evil: an option is a word, not a path"),
        (["flow='/tmp/evil'"], "an option is a word, not a path"),
        (["experiment=[../evil]"], "an option is a word, not a path"),
        (["+sweep=..\\evil"], "an option is a word, not a path"),
        (["hydra/job_logging=../../evil"], "an option is a word, not a path"),
        (["experiment=${oc.env:HOME}"], "an option is a word, not a path"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_line_words_that_name_code_are_refused(words, culprit, planted):
    with pytest.raises(ConfigError) as refused:
        compose_yaml(words, hydra_settings=True)
    assert culprit in str(refused.value)
    assert not (planted / "imported").exists()


def test_classes_of_flowlab_and_its_engines_are_allowed():
    for words in ([SEARCH], [SEARCH, "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler"]):
        assert compose_yaml(words, hydra_settings=True).hydra.sweeper._target_.endswith("OptunaSweeper")
    for launcher in ("basic", "stacked", "slurm", "ray_cluster"):
        compose_yaml([f"hydra/launcher={launcher}", "hydra.run.dir=/tmp/a b", "hydra.verbose=true"])
    assert compose("validation_size=${test_size}").validation_size == 100_000


def test_target_inside_an_interpolated_node_is_refused():
    composed = OmegaConf.create({"a": "${b}", "b": {"c": "${oc.create:${d}}"}, "d": {"_target_": "os.system"}})
    with pytest.raises(ConfigError, match=r"_target_=os.system"):
        check_targets(composed)


HEX = "0123456789abcdef0123456789abcdef01234567"
# Invented secrets in the formats of real services.
TOKENS = [
    "wandb_" + "v1_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "ghp_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "github_pat_" + "11ABCDEFG0abcdefghijkl_0123456789",
    "glpat-" + "abcdefghij0123456789",
    "xoxb-" + "123456789012-abcdefghijkl",
    "sk-" + "proj-abcdefghij0123456789",
    "AKIA" + "ABCDEFGHIJKLMNOP",
]


@pytest.mark.parametrize("secret", TOKENS)
def test_token_is_recognized_by_its_prefix(secret):
    assert redact(f"it said '{secret}', twice: {secret}") == f"it said '{REDACTED}', twice: {REDACTED}"
    assert secret_in(f"x {secret}") == "what looks like a key"
    with pytest.raises(ConfigError) as refused:
        compose("logger=wandb", f"logger.wandb.run_name={secret}")
    assert "logger.wandb.run_name: a secret does not belong on a command line" in str(refused.value)
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "clean"),
    {
        "api_key=abc": f"api_key={REDACTED}",
        "connect(token='abc', n=1)": f"connect(token='{REDACTED}', n=1)",
        "DB_PASSWORD=hunter2 is wrong": f"DB_PASSWORD={REDACTED} is wrong",
        "https://me:pa55@host/x": f"https://{REDACTED}@host/x",
        "https://t0ken@host/x": f"https://{REDACTED}@host/x",
        "postgresql://me:pa55@host/db": f"postgresql://{REDACTED}@host/db",
        f"key {HEX}": f"key {REDACTED}",
    }.items(),
)
def test_secret_is_removed_from_text(text, clean):
    assert redact(text) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'depth'",
        "no such key: depth",
        "flow.n_tokens=8: must be at most 4",
        "rows = sorted(rows, key=len)",
        "flow.key_dim=7: must be at most 4",
        "git@github.com:me/flow.git",
        "runs/task-17_disk-sk-learn_of_mine",
        "hf_imagenet_embeddings.npy",
        "logger.api_key: a secret does not belong on a command line",
        f"sha256 {HEX}{HEX[:24]}",
    ],
)
def test_text_without_a_secret_is_unchanged(text):
    assert redact(text) == text
    assert secret_in(text) is None


@pytest.mark.parametrize("word", ["logger.wandb.api_key=abcdefgh", "+flow.access_token=abc", "--password=abc"])
def test_setting_with_a_secret_name_is_refused_on_the_command_line(word):
    name, _, value = word.partition("=")
    assert is_secret_setting(name, value)
    if not word.startswith("--"):
        with pytest.raises(ConfigError, match=f"{name.lstrip('+')}: a secret does not belong on a command line"):
            compose("logger=wandb", word)


@pytest.mark.parametrize("word", ["+logger.more={deep: {password: hunter2}}", "+flow.more=[{api_key: abc}]"])
def test_setting_with_a_secret_name_is_refused_inside_a_value(word):
    with pytest.raises(ConfigError, match=r"(password|api_key): holds a value whose name says that it is a secret"):
        compose(word)


def test_secret_assignment_inside_a_value_is_refused():
    with pytest.raises(ConfigError, match="a secret does not belong on a command line"):
        compose("logger=wandb", "logger.wandb.run_name='api_key=abc'")
    config = compose("logger=wandb", "logger.wandb.tags=['n_token=8','token: 16']")
    config.logger["wandb"].tags = ["client_secret=abc"]
    with pytest.raises(ConfigError, match=r"logger\.wandb\.tags: holds a value beside the name of a secret"):
        to_config(config.to_dict())


def test_secrets_are_removed_from_a_command_line():
    words = ["train.py", "seed=1", "wandb.api_key=abc", "PASSWORD=x", f"note={HEX}", "token=", HEX, "--key", "v", "-m"]
    clean = ["train.py", "seed=1", f"wandb.api_key={REDACTED}", f"PASSWORD={REDACTED}", f"note={REDACTED}"]
    assert redact_command(words) == [*clean, "token=", REDACTED, "--key", REDACTED, "-m"]
    assert redact_command(["--api-key=abc", "url=https://a:b@c"]) == [
        f"--api-key={REDACTED}",
        f"url=https://{REDACTED}@c",
    ]


def test_number_or_flag_is_not_a_secret():
    assert not is_secret_setting("flow.n_tokens", "16")
    assert not is_secret_setting("flow.with_key", "true")
    assert not is_secret_setting("flow.n_keys", "range(1,4)")
    assert not is_secret_setting("flow.n_tokens", "[8,16]")
    assert is_secret_setting("flow.token", "abc")
    check_written({"flow": {"n_tokens": [8, 16], "scale_key": 1e-05, "with_key": True, "key": None}})


def test_address_without_password_is_not_a_secret():
    assert secret_in("https://me@host/x") is None
    assert secret_in("https://me:pa55@host/x") == "an address with a password in it"


def test_commit_hash_inside_a_value_is_not_a_secret():
    assert secret_in(f"/data/{HEX}/points.csv") is None
    assert secret_in(f"'{HEX}'") == "what looks like a key"


def test_secret_environment_variable_is_recognized_by_its_value(monkeypatch, tmp_path):
    monkeypatch.setenv("OUR_SERVICE_TOKEN", "correct horse")
    monkeypatch.setenv("SHORT_KEY", "us")
    monkeypatch.setenv("FILE_WITH_PASSWORD", str(tmp_path))
    monkeypatch.setenv("MAX_TOKENS", "1234567890")
    assert redact("failed at 'correct horse' of us") == f"failed at '{REDACTED}' of us"
    assert redact(f"{tmp_path}/x 1234567890") == f"{tmp_path}/x 1234567890"
    with pytest.raises(ConfigError, match=r"wandb\.group: holds the value of the environment variable OUR_SERVICE_T"):
        compose("logger=wandb", "logger.wandb.group=${oc.env:OUR_SERVICE_TOKEN}")
    with pytest.raises(ConfigError, match=r"wandb\.tags: holds the value"):
        compose("logger=wandb", "logger.wandb.tags=[a,'x ${oc.env:OUR_SERVICE_TOKEN}']")
    monkeypatch.setenv("PLAIN", HEX)
    with pytest.raises(ConfigError, match=r"wandb\.tags: holds what looks like a key"):
        compose("logger=wandb", "logger.wandb.tags=[a,'${oc.env:PLAIN}']")
    with pytest.raises(ConfigError, match=r"wandb\.project: holds what looks like a key"):
        compose("logger=wandb", "logger.wandb.project=${oc.env:PLAIN}")


def test_own_words_are_not_hidden(monkeypatch):
    """A variable may hold any word, also one that flowlab prints in its lists."""
    monkeypatch.setenv("MY_TOKEN", "ray_cluster")
    monkeypatch.setenv("DB_PASSWORD", "smooth_prelu")
    listed = "Available options in 'hydra/launcher':\n\tbasic\n\tray_cluster\nflow: smooth_prelu"
    assert redact(listed) == listed
    monkeypatch.setenv("DB_PASSWORD", "smooth_prelu7")
    assert redact("smooth_prelu7") == REDACTED
