"""Damaged run and sweep directories, by name: the damage, the culprit and the remedy in the message."""

import json
import os
import pickle
import shutil

import torch

LAST = "run/checkpoints/last.ckpt"
AGAIN = "again"  # the remedy: remove the checkpoints and begin again
CONFIG, STATUS, MANIFEST = "run/config.yaml", "run/status.json", "sweep/manifest.json"
AWAY = "move it away"


def write(name, content):
    return lambda root: (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def cut(name, size):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def add(name, content):
    return lambda root: (root / name).write_bytes((root / name).read_bytes() + content)


def replace(name, before, after):
    def change(root):
        content = (root / name).read_text()
        assert before in content
        (root / name).write_text(content.replace(before, after))

    return change


def remove(name):
    return lambda root: (root / name).unlink()


def swap(name, make):
    """Replace a file by something else, such as a directory."""

    def change(root):
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()
        make(root / name)

    return change


def entry(*keys, value=None, delete=False, name=LAST):
    """Change or delete one entry of a checkpoint or a manifest."""

    def change(root):
        path = root / name
        content = json.loads(path.read_text()) if path.suffix == ".json" else torch.load(path, weights_only=True)
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        if delete:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value(inner[keys[-1]]) if callable(value) else value
        path.write_text(json.dumps(content)) if path.suffix == ".json" else torch.save(content, path)

    return change


def job(*keys, value):
    return entry("jobs", 0, *keys, value=value, name=MANIFEST)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
SHAPE = ("flowlab", "event_shape")
FIRST = ("optimizer_states", 0, "state", 0)
WEIGHT = ("state_dict", "flow.bijector.parts.0.shift")

RUNS = {
    "empty configuration": (write(CONFIG, ""), "run/config.yaml", "does not hold a configuration"),
    "configuration cut short": (cut(CONFIG, 150), "run/config.yaml: cannot be read", "line 11"),
    "binary configuration": (write(CONFIG, bytes(range(256))), "run/config.yaml: cannot be read", "can't decode"),
    "list for a configuration": (write(CONFIG, "- a\n- b\n"), "run/config.yaml", "does not hold a configuration"),
    "number for a configuration": (write(CONFIG, "3"), "run/config.yaml: cannot be read", "no mapping"),
    "call in a configuration": (
        write(CONFIG, "seed: !!python/object/apply:os.mkdir ['executed']\n"),
        "run/config.yaml: cannot be read",
        "python/object/apply:os.mkdir",
    ),
    "name in a configuration": (write(CONFIG, "seed: !!python/name:os.mkdir\n"), "run/config.yaml", "python/name"),
    "foreign tag": (write(CONFIG, "seed: !foo 3\n"), "run/config.yaml: cannot be read", "'!foo'"),
    "unknown key": (add(CONFIG, b"nope: 1\n"), "run/config.yaml: nope: no such key", "allowed: seed"),
    "word for a number": (replace(CONFIG, "seed: 0\n", "seed: abc\n"), "run/config.yaml: seed='abc'", "whole number"),
    "date for a number": (replace(CONFIG, "seed: 0\n", "seed: 2020-01-01\n"), "seed='2020-01-01'", "whole number"),
    "not a number": (replace(CONFIG, "lr: 0.01", "lr: .nan"), "run/config.yaml: optimizer.lr=nan", "finite number"),
    "interpolation in a circle": (
        replace(CONFIG, "seed: 0\n", "seed: ${seed}\n"),
        "seed='${seed}'",
        "holds plain values",
    ),
    "key twice": (add(CONFIG, b"seed: 1\n"), "run/config.yaml: cannot be read", "duplicate key seed"),
    "tabs": (write(CONFIG, "\tseed: 0"), "run/config.yaml: cannot be read", "line 1"),
    "two documents": (add(CONFIG, b"---\nseed: 1\n"), "run/config.yaml: cannot be read", "single document"),
    "a billion values of aliases": (write(CONFIG, BILLION), "run/config.yaml: cannot be read", "line 2 holds an alias"),
    "an alias of itself": (write(CONFIG, "a: &a [*a]\n"), "run/config.yaml: cannot be read", "line 1 holds an alias"),
    "a deep list": (write(CONFIG, f"seed: {'[' * 5000}{']' * 5000}"), "run/config.yaml", "20 levels deep"),
    "a deep mapping": (
        write(CONFIG, "".join(f"{' ' * i}a:\n" for i in range(500))),
        "run/config.yaml",
        "20 levels deep",
    ),
    "directory for a configuration": (swap(CONFIG, os.mkdir), "run: not a run directory", "no config.yaml in it"),
    "pipe for a configuration": (swap(CONFIG, os.mkfifo), "run: not a run directory", "no config.yaml in it"),
    "a sweep for a run": (
        swap("run", lambda run: shutil.copytree(run.parent / "sweep", run)),
        "run: not a run directory",
        "it is a sweep: continue it with -m sweep_resume=run",
    ),
    "a directory of runs": (
        swap("run", lambda run: shutil.copytree(run.parent / "sweep/0", run / "other")),
        "run: not a run directory",
        "did you mean run/other?",
    ),
    "no configuration": (remove(CONFIG), "run: not a run directory", "no config.yaml in it"),
    "layers without end": (replace(CONFIG, "depth: 1\n", "depth: 1000000000\n"), "flow.depth=1000000000", "at most"),
    "status cut short": (cut(STATUS, 5), "run/status.json: cannot be read", "Unterminated"),
    "empty status": (write(STATUS, ""), "run/status.json: cannot be read", "line 1 column 1"),
    "list for a status": (write(STATUS, "[]"), "run/status.json: cannot be read", "does not hold an object"),
    "deep status": (write(STATUS, "[" * 100_000), "run/status.json: cannot be read", "recursion"),
    "directory for a status": (swap(STATUS, os.mkdir), "run/status.json: cannot be read", AWAY),
    "pipe for a status": (swap(STATUS, os.mkfifo), "run/status.json: cannot be read", AWAY),
    "provenance cut short": (cut("run/provenance.json", 50), "run/provenance.json: cannot be read", "line 3"),
    "number in a provenance": (write("run/provenance.json", '{"resumed": 3}'), "resumed=3", "must be a list"),
    "hash without a file": (write("run/provenance.json", '{"data_sha256": "x"}'), "data_sha256", "start a new run"),
    "directory for a provenance": (swap("run/provenance.json", os.mkdir), "run/provenance.json", AWAY),
    "directory for a result": (swap("run/result.json", os.mkdir), "run/result.json", AWAY),
    "other metrics": (
        write("run/metrics.csv", "foo,bar\n1,2\n"),
        "run/metrics.csv: line 1 is damaged",
        "remove the file",
    ),
    "binary metrics": (
        write("run/metrics.csv", bytes(range(256))),
        "run/metrics.csv: line 1 is damaged",
        "remove the file",
    ),
    "metrics without a step": (add("run/metrics.csv", b"abc,1\n"), "run/metrics.csv: line", "remove it"),
    "metrics with NULs": (add("run/metrics.csv", bytes(100) + b"\n"), "run/metrics.csv: line", "remove it"),
    "directory for metrics": (swap("run/metrics.csv", os.mkdir), "run/metrics.csv: is not a file", AWAY),
    "pipe for metrics": (swap("run/metrics.csv", os.mkfifo), "run/metrics.csv: is not a file", AWAY),
    "empty checkpoint": (write(LAST, ""), f"{LAST}: cannot be read", AGAIN),
    "checkpoint cut short": (cut(LAST, 3000), f"{LAST}: cannot be read", AGAIN),
    "text for a checkpoint": (write(LAST, "hello"), f"{LAST}: cannot be read", AGAIN),
    "malicious checkpoint": (write(LAST, pickle.dumps(Malicious())), f"{LAST}: cannot be read", AGAIN),
    "directory for a checkpoint": (swap(LAST, os.mkdir), f"{LAST}: is not a file", AWAY),
    "pipe for a checkpoint": (swap(LAST, os.mkfifo), f"{LAST}: is not a file", AWAY),
    "list for a checkpoint": (lambda root: torch.save([1, 2], root / LAST), f"{LAST}: is not a checkpoint", AGAIN),
    "tensor for a checkpoint": (lambda root: torch.save(torch.ones(3), root / LAST), f"{LAST}: is not a check", AGAIN),
    "nothing in a checkpoint": (lambda root: torch.save({}, root / LAST), f"{LAST}: is not a checkpoint", AGAIN),
    "checkpoint without its shape": (entry("flowlab", delete=True), "no part 'flowlab'", AGAIN),
    "number for a shape": (entry("flowlab", value=3), "no part 'flowlab'", AGAIN),
    "word for a shape": (entry(*SHAPE, value="x"), "no part 'event_shape'", AGAIN),
    "word in a shape": (entry(*SHAPE, value=["x"]), "no part 'event_shape'", AGAIN),
    "negative size": (entry(*SHAPE, value=[-1]), "no part 'event_shape'", AGAIN),
    "no shape": (entry(*SHAPE, delete=True), "no part 'event_shape'", AGAIN),
    "word for the shape of a context": (entry("flowlab", "context_shape", value="x"), "'context_shape'", AGAIN),
    "size without end": (entry(*SHAPE, value=[10**9]), "last.ckpt does not fit config.yaml", "shape (1000000000,)"),
    "another shape": (entry(*SHAPE, value=[3]), "last.ckpt does not fit config.yaml", "shape (3,)"),
    "a shape of two axes": (entry(*SHAPE, value=[1, 2]), "last.ckpt does not fit config.yaml", "shape (1, 2)"),
    "weights of another flow": (
        replace(CONFIG, "rank: 2\n", "rank: 1\n"),
        "best.ckpt does not fit config.yaml",
        "mismatch",
    ),
    "no weights": (entry("state_dict", delete=True), "no part 'state_dict'", AGAIN),
    "list for weights": (entry("state_dict", value=[1]), "no part 'state_dict'", AGAIN),
    "foreign weights": (
        entry("state_dict", value=lambda state: {**state, "x": torch.ones(1)}),
        "'x', which is not a tensor of a flow",
        AGAIN,
    ),
    "words for weights": (entry(*WEIGHT, value="x"), "which is not a tensor of a flow", AGAIN),
    "weights not a number": (entry(*WEIGHT, value=lambda w: w * torch.nan), "not finite real numbers", AGAIN),
    "complex weights": (entry(*WEIGHT, value=lambda w: w + 0j), "not finite real numbers", AGAIN),
    "sparse weights": (entry(*WEIGHT, value=lambda w: w.to_sparse()), "not finite real numbers", AGAIN),
    "weights without numbers": (entry(*WEIGHT, value=lambda w: w.to("meta")), "not finite real numbers", AGAIN),
    "one number for too many weights": (
        entry(*WEIGHT, value=lambda w: w.new_ones(()).expand(10**12)),
        "not finite real numbers",
        AGAIN,
    ),
    "weights of another shape": (entry(*WEIGHT, value=torch.ones(7)), "does not fit config.yaml", "size mismatch"),
    "no step": (entry("global_step", delete=True), "no part 'global_step'", AGAIN),
    "another step": (entry("global_step", value=7), "is not from step 7", AGAIN),
    "no optimizer": (entry("optimizer_states", delete=True), "no part 'optimizer_states'", AGAIN),
    "empty optimizer": (entry("optimizer_states", value=[]), "its optimizer has no part 'state'", AGAIN),
    "optimizer without a parameter": (
        entry(*FIRST[:-1], value=lambda state: {1: state[1]}),
        "does not have the state of every trained parameter",
        AGAIN,
    ),
    "moment of another shape": (entry(*FIRST, "exp_avg", value=torch.ones(77)), "does not fit the parameter", AGAIN),
    "moment not a number": (entry(*FIRST, "exp_avg", value=lambda m: m * torch.nan), "or is not finite", AGAIN),
    "sparse moment": (entry(*FIRST, "exp_avg", value=lambda m: m.to_sparse()), "or is not finite", AGAIN),
    "negative square": (entry(*FIRST, "exp_avg_sq", value=lambda m: -1 - m), "optimizer's state 0", AGAIN),
    "no callbacks": (entry("callbacks", value={}), "no part 'Checkpoints'", AGAIN),
    "no window of losses": (entry("flowlab", "window", delete=True), "no part 'window'", AGAIN),
    "word for the seconds": (entry("flowlab", "seconds", value="x"), "no part 'seconds'", AGAIN),
}

# Command lines after `resume=run`; the directory is undamaged.
ELSEWHERE = {
    "fewer steps": (["max_steps=5"], "max_steps=5: the run has max_steps=20", "a larger number trains it longer"),
    "no number of steps": (["max_steps=x"], "max_steps='x'", "must be a whole number"),
    "another target": (["target=funnel"], "target=funnel: a run resumes", "allowed: trainer=..."),
    "no trainer": (["~trainer"], "~trainer: a run resumes", "allowed: trainer=..."),
    "a setting that does not move": (["trainer.log_every=7"], "trainer.log_every=7: a run resumes", "devices, nodes"),
    "a mistyped device": (["trainer.device=5"], "trainer.device=5: a run resumes", "devices, nodes"),
    "a trainer that is not there": (["trainer=nowhere"], "trainer=nowhere: no such option", "allowed: cpu"),
    "a flag": (["-m"], "-m: resume=RUN_DIR allows trainer", "trainer=... and trainer.KEY=..."),
    "a flag of Hydra": (["--resolve"], "--resolve: resume=RUN_DIR allows trainer", "trainer=... and trainer.KEY=..."),
    "Slurm": (["trainer=slurm"], "srun did not start this process", "run `srun"),
    "torchrun": (["trainer=torchrun"], "torchrun did not start this process", "run `torchrun"),
}

SWEEPS = {
    "manifest cut short": (cut(MANIFEST, 100), f"{MANIFEST}: cannot be read", "column"),
    "empty manifest": (write(MANIFEST, ""), f"{MANIFEST}: cannot be read", "line 1 column 1"),
    "nothing in a manifest": (write(MANIFEST, "{}"), f"{MANIFEST}: is not the manifest of a sweep", "'words'"),
    "list for a manifest": (write(MANIFEST, "[]"), f"{MANIFEST}: cannot be read", "does not hold an object"),
    "deep manifest": (write(MANIFEST, "[" * 100_000), f"{MANIFEST}: cannot be read", "recursion"),
    "number for words": (entry("words", value=3, name=MANIFEST), f"{MANIFEST}: is not the manifest", "words"),
    "number for jobs": (entry("jobs", value=3, name=MANIFEST), f"{MANIFEST}: is not the manifest", "int"),
    "null for a job": (entry("jobs", value=[None], name=MANIFEST), f"{MANIFEST}: is not the manifest", "NoneType"),
    "job in no directory": (job("directory", value=None), f"{MANIFEST}: is not the manifest", "its words, jobs"),
    "job outside of the sweep": (job("directory", value="../x"), f"{MANIFEST}: the directory '../x'", "leads out"),
    "job at an absolute path": (job("directory", value="/etc"), f"{MANIFEST}: the directory '/etc'", "leads out"),
    "job without a configuration": (job("config", value=None), f"{MANIFEST}: is not the manifest", "its words, jobs"),
    "list for a configuration": (job("config", value=[1]), f"{MANIFEST}: is not the manifest", "its words, jobs"),
    "seconds not a number": (entry("seconds", value=float("nan"), name=MANIFEST), MANIFEST, "or seconds"),
}
# Damage that stops only a resume, and mistakes in the command line of a summary.
RESUMED = {
    "a run for a sweep": (
        swap("sweep", lambda sweep: shutil.copytree(sweep.parent / "run", sweep)),
        "sweep: not the directory of a sweep",
        "it is a run: continue it with resume=sweep",
    ),
    "no manifest": (remove(MANIFEST), "sweep: not the directory of a sweep", "no manifest.json in it"),
    "directory for a manifest": (swap(MANIFEST, os.mkdir), "sweep: not the directory of a sweep", "no manifest.json"),
    "words of another sweep": (
        entry("words", value=["seed=0,1"], name=MANIFEST),
        "job 0 has max_steps",
        "sweep_resume",
    ),
    "words that are flags": (entry("words", value=["--cfg"], name=MANIFEST), "'--cfg': cannot be read", "KEY=VALUE"),
    "a job less": (entry("jobs", value=lambda jobs: jobs[:1], name=MANIFEST), "1 jobs, and not of 2", "sweep_resume"),
    "file for a run": (swap("sweep/1", lambda path: path.write_text("x")), "sweep/1: is not a directory", AWAY),
}
SUMMARIZED = {
    "no directory": (["nowhere"], "nowhere", "there is no such directory"),
    "a file": (["run/config.yaml"], "run/config.yaml", "there is no such directory"),
    "a run": (["run"], "run: is a run", "the directory above its runs"),
    "no run below": (["run/checkpoints"], "run/checkpoints", "there is no run in it"),
    "no word": ([], "DIR", "usage:"),
    "two directories": (["sweep", "run"], "run", "usage:"),
    "an unknown flag": (["sweep", "--nope"], "--nope", "usage:"),
    "a curve without a record": (["sweep", "--curve", "loss"], "--curve", "--record PATH"),
    "an unknown curve": (
        ["sweep", "--record", "r", "--curve", "nope"],
        "--curve nope: runs log no such metric",
        "they log loss, nll",
    ),
    "a record without a name": (["sweep", "--record", "/"], "--record /", "must end in a name"),
}
