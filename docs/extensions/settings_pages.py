"""The pages of the configuration: every group, its options, and the type, range, default and meaning of each key.

The types and ranges come from the components, the defaults from the YAML under `conf/`, and the meanings from the
docstrings, or from the comments of the YAML.
"""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any

from docstrings import meanings, references, sections, summary
from omegaconf import OmegaConf
from pages import prose, table

from flowlab.config.component import MISSING, WORDS, name_type
from flowlab.config.compose import compose_yaml
from flowlab.config.directories import conf_directory
from flowlab.config.registry import PACKAGES, lookup, names, option_names
from flowlab.config.schema import RunConfig, TrainerConfig

# The groups of a run, in the order of the configuration, and what their options are.
TITLES = {
    "target": "what is learned",
    "flow": "the architecture",
    "objective": "the loss",
    "optimizer": "the updates",
    "trainer": "where and how long",
    "logger": "where numbers go",
    "experiment": "settings of several groups",
}
COMMENT = re.compile(r"^ *([\w-]+):[^#\n]*#(.*(?:\n +#.*)*)", re.MULTILINE)


def settings_pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    pages = {"run.md": _run_page()}
    for group in TITLES:
        pages[f"{group}.md"] = _group_page(group)
    for group in ("metric", "map", "task"):
        pages[f"{group}.md"] = _names_page(group)
    return pages


def _run_page() -> str:
    rows = _rows(RunConfig, "", _plain(""), _comments(conf_directory() / "config.yaml"))
    return f"# Keys of a run\n\nThese keys stand outside of any group.\n\n{_keys_table(rows)}"


def _group_page(group: str) -> str:
    options = option_names(group)
    schemas: dict[type, list[str]] = {}
    for option in options:
        schemas.setdefault(_schema(group, option), []).append(option)
    text = f"# {group}: {TITLES[group]}\n\nOne option is chosen by `{group}=NAME`.\n\n"
    text += table(["option", "is"], [[f"`{option}`", prose(_describe(group, option))] for option in options])
    if group == "experiment":
        return text + "\n" + "\n".join(_experiment(option) for option in options)
    return text + "".join(_component(group, schema, of) for schema, of in schemas.items() if schema is not type(None))


def _component(group: str, schema: type, options: list[str]) -> str:
    """The keys of a component, and the values that its options give them."""
    first = next((option for option in options if option == getattr(schema, "name", "")), options[0])
    prefix = f"logger.{first}." if group == "logger" else f"{group}."
    nodes = {option: _node(group, option) for option in options}
    comments = {}
    for option in reversed([first, *options]):
        comments |= _comments(conf_directory() / group / f"{option}.yaml")
    text = f"\n## {', '.join(options)}\n\n"
    text += "".join(f"{prose(' '.join(part.split()))}\n\n" for part in sections(schema)[""].split("\n\n") if part)
    text += "".join(f"- [{prose(title)}]({address})\n" for title, address in references(schema)) + "\n"
    rows = _rows(schema, prefix, nodes[first], comments)
    text += _keys_table(rows) if rows else "It has no keys.\n"
    differing = [key for key, value in nodes[first].items() if any(node.get(key) != value for node in nodes.values())]
    if differing := [key for key in differing if key != "name"]:
        text += "\nDefaults that differ between the options:\n\n"
        text += table(
            ["option", *(f"`{key}`" for key in differing)],
            [[f"`{option}`", *(shown(node.get(key)) for key in differing)] for option, node in nodes.items()],
        )
    return text


def _rows(schema: type, prefix: str, node: dict[str, Any], comments: dict[str, str]) -> list[list[str]]:
    """A row for each field of a dataclass: key, type, allowed values, default, meaning."""
    said = meanings(schema)
    rows = []
    for item in dataclasses.fields(schema):
        if not item.init:
            continue
        kind, value = name_type(item.type), node.get(item.name, MISSING)
        default = "must be given" if value == MISSING else shown(value)
        meaning = re.sub(r"\bNone\b", "null", said.get(item.name, "")) or comments.get(item.name, "")
        rows.append([f"`{prefix}{item.name}`", _type(kind), _range(item, kind), default, prose(meaning)])
    return rows


def _keys_table(rows: list[list[str]]) -> str:
    return table(["key", "type", "allowed", "default", "meaning"], rows)


def _type(kind: str) -> str:
    main = kind.removesuffix(" | None")
    return WORDS.get(main, main).partition(", as ")[0].removeprefix("a ") + (" or null" if main != kind else "")


def _range(item: dataclasses.Field[Any], kind: str) -> str:
    """The allowed values of a field in words."""
    limits = item.metadata
    if choices := limits.get("choices"):
        return ", ".join(f"`{choice}`" for choice in choices)
    words = [f"at least {_number(limits['minimum'])}"] if "minimum" in limits else []
    words += [f"at most {_number(limits['maximum'])}"] if "maximum" in limits else []
    words += [f"greater than {_number(limits['above'])}"] if "above" in limits else []
    words += [f"less than {_number(limits['below'])}"] if limits.get("below", float("inf")) < float("inf") else []
    words += ["not empty"] if kind.startswith("list[") and not limits.get("may_be_empty", True) else []
    words += ["null follows the data"] if limits.get("follows_data") else []
    return ", ".join(words)


def _number(value: float) -> str:
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")


def shown(value: Any) -> str:
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def _comments(path: Path) -> dict[str, str]:
    """The comments behind the keys of a YAML file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {key: " ".join(said.replace("#", " ").split()) for key, said in COMMENT.findall(text)}


def opening_comment(path: Path) -> str:
    """The comment that a YAML file begins with, without directives of Hydra."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines += [] if "@package" in line else [line.lstrip("# ")]
    return " ".join(lines)


def _describe(group: str, option: str) -> str:
    """What an option is: the comment that its file begins with, or else its docstring."""
    path = conf_directory() / group / f"{option}.yaml"
    said = opening_comment(path) if path.is_file() else ""
    schema = _schema(group, option)
    return said or ("" if schema is TrainerConfig else summary(schema))


def _schema(group: str, option: str) -> type:
    """The dataclass of an option; NoneType where the option has no keys of its own."""
    if group == "trainer":
        return TrainerConfig
    if group not in PACKAGES or option == "custom":
        return type(None)
    return lookup(group, _node(group, option)["name"])


def _node(group: str, option: str) -> dict[str, Any]:
    """The values of an option as composed, before their types are checked."""
    composed = _plain(f"{group}={option}")[group]
    return composed[option] if group == "logger" else composed


@cache
def _plain(word: str) -> dict[str, Any]:
    """A composed configuration as plain values, with one override; a value that must be given is "???"."""
    return OmegaConf.to_container(compose_yaml([word] if word else []))  # type: ignore[return-value]


def _experiment(option: str) -> str:
    text = (conf_directory() / "experiment" / f"{option}.yaml").read_text(encoding="utf-8")
    return f"## {option}\n\n```yaml\n{text.partition(chr(10))[2]}```\n"


def _names_page(group: str) -> str:
    """The registered names of a group without YAML."""
    key = {"metric": "metrics=[NAME]", "map": "flow.map=NAME", "task": "target.task=NAME"}[group]
    title = {"metric": "numbers beside the loss", "map": "functions of one coordinate", "task": "simulators"}[group]
    rows = [[f"`{name}`", prose(_said(group, name))] for name in names(group)]
    return f"# {group}: {title}\n\nChosen by `{key}`.\n\n{table(['name', 'is'], rows)}"


def _said(group: str, name: str) -> str:
    """The summary of a component; a map is described by the class that it makes."""
    component = lookup(group, name)
    if said := summary(component):
        return said
    made = component(lookup("flow", "coupling")()) if group == "map" else None
    return summary(type(getattr(made, "map", made)))
