"""Secrets are recognized, removed from texts, and refused in a configuration."""

import pytest

from flowlab import ConfigError, compose
from flowlab.config.schema import to_config
from flowlab.config.security import REDACTED, check_written, is_secret_setting, redact, redact_command, secret_in

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
