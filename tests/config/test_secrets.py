import pytest

from flowlab import ConfigError, compose
from flowlab.config.compose import to_config
from flowlab.config.secrets import REDACTED, is_secret_setting, redact, redact_command, secret_in

HEX = "0123456789abcdef0123456789abcdef01234567"
# Made up, in the shapes in which services give out theirs.
LOOKS = [
    "wandb_" + "v1_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "ghp_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "github_pat_" + "11ABCDEFG0abcdefghijkl_0123456789",
    "glpat-" + "abcdefghij0123456789",
    "sk-" + "proj-abcdefghij0123456789",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.abcDEF-_0",
]


@pytest.mark.parametrize("secret", LOOKS)
def test_by_look(secret):
    assert redact(f"it said '{secret}', twice: {secret}") == f"it said '{REDACTED}', twice: {REDACTED}"
    assert secret_in(f"x {secret}") == "what looks like a key"
    with pytest.raises(ConfigError) as refused:
        compose("logger=wandb", f"logger.run_name={secret}")
    assert "logger.run_name: a secret does not belong on a command line" in str(refused.value)
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "clean"),
    {
        "api_key=abc": f"api_key={REDACTED}",
        "{'api_key': 'abc', 'n': 1}": f"{{'api_key': '{REDACTED}', 'n': 1}}",
        '"client_secret": "abc"': f'"client_secret": "{REDACTED}"',
        "password: hunter2 is wrong": f"password: {REDACTED} is wrong",
        "run --api-key abc --lr 1": f"run --api-key {REDACTED} --lr 1",
        "https://me:pa55@host/x": f"https://{REDACTED}@host/x",
        "postgresql://me:pa55@host/db": f"postgresql://{REDACTED}@host/db",
        "Authorization: Bearer abcdefgh": f"Authorization: Bearer {REDACTED}",
        f"key {HEX}": f"key {REDACTED}",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----": REDACTED,
    }.items(),
)
def test_by_name_and_place(text, clean):
    assert redact(text) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'depth'",
        "no such key: depth",
        "flow.key_dim=7: must be at most 4",
        "git@github.com:me/flow.git",
        "runs/task-17_disk-sk-learn_of_mine",
        "hf_imagenet_embeddings.npy",
        "logger.api_key: a secret does not belong on a command line",
    ],
)
def test_what_is_none_is_left(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    "word",
    [
        "logger={api_key: abc}",
        "+logger.more={deep: {password: hunter2}}",
        "logger.run_name='api_key=abc'",
        "logger.tags=['client_secret: abc']",
    ],
)
def test_a_secret_told_by_the_name_beside_it_inside_a_value(word):
    with pytest.raises(ConfigError, match="a secret does not belong on a command line"):
        compose("logger=wandb", word)
    config = compose("logger=wandb")
    config.logger.tags = [word]
    with pytest.raises(ConfigError, match="logger.tags: holds a value beside the name of a secret"):
        to_config(config.to_dict())
    assert compose("logger=wandb", "logger.tags=['n_token=8','token: 16']").logger.tags == ["n_token=8", "token: 16"]


def test_words_of_a_command_line():
    words = ["train.py", "seed=1", "wandb.api_key=abc", "PASSWORD=x", f"note={HEX}", "token=", HEX, "--key", "v", "-m"]
    clean = ["train.py", "seed=1", f"wandb.api_key={REDACTED}", f"PASSWORD={REDACTED}", f"note={REDACTED}"]
    assert redact_command(words) == [*clean, "token=", REDACTED, "--key", REDACTED, "-m"]
    assert redact_command(["--api-key=abc", "url=https://a:b@c"]) == [
        f"--api-key={REDACTED}",
        f"url=https://{REDACTED}@c",
    ]


def test_a_number_is_no_secret():
    assert not is_secret_setting("flow.n_tokens", "16")
    assert not is_secret_setting("flow.with_key", "true")
    assert not is_secret_setting("flow.n_keys", "range(1,4)")
    assert not is_secret_setting("flow.n_tokens", "[8,16]")
    assert is_secret_setting("flow.token", "abc")


def test_the_values_of_variables_whose_names_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("OUR_SERVICE_TOKEN", "correct horse")
    monkeypatch.setenv("SHORT_KEY", "us")
    monkeypatch.setenv("KEY_FILE_PASS", str(tmp_path))
    monkeypatch.setenv("MAX_TOKENS", "1234567890")
    assert redact("failed at 'correct horse' of us") == f"failed at '{REDACTED}' of us"
    assert redact(f"{tmp_path}/x 1234567890") == f"{tmp_path}/x 1234567890"
    with pytest.raises(ConfigError, match="logger.group: holds the value of the environment variable OUR_SERVICE_T"):
        compose("logger=wandb", "logger.group=${oc.env:OUR_SERVICE_TOKEN}")
    with pytest.raises(ConfigError, match="logger.tags: holds the value"):
        compose("logger=wandb", "logger.tags=[a,'x ${oc.env:OUR_SERVICE_TOKEN}']")
    monkeypatch.setenv("PLAIN", HEX)
    with pytest.raises(ConfigError, match="logger.tags: holds what looks like a key"):
        compose("logger=wandb", "logger.tags=[a,'${oc.env:PLAIN}']")
    with pytest.raises(ConfigError, match="logger.project: holds what looks like a key"):
        compose("logger=wandb", "logger.project=${oc.env:PLAIN}")
