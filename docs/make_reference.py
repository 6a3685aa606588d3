"""Generate the parts of reference.md that describe the code: commands, Python names, registries.

python docs/make_reference.py          rewrite docs/reference.md
python docs/make_reference.py --check  exit with 1 if docs/reference.md is out of date
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import click

import leanfront
from leanfront.cli import main as cli
from leanfront.core.audit import KINDS, LEVELS
from leanfront.core.compressors import CRITERIA, OPTIMISERS, PRESETS, Structure
from leanfront.core.cost_models import COST_MODELS
from leanfront.core.objectives import METRICS, STRATEGIES
from leanfront.core.objectives.corruptions import CORRUPTIONS, MAIN
from leanfront.core.search.samplers import SAMPLERS
from leanfront.core.targets import BUILTINS

REFERENCE = Path(__file__).with_name("reference.md")
_PART = re.compile(r"(<!-- generated: (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HIDDEN = {"help", "version"}


def updated(text: str) -> str:
    """Return the page with all generated parts replaced.

    Raises:
        KeyError: the page names an unknown part.
    """
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]().strip()}\n\n{match[3]}", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    # Outside of code, Markdown reads angle brackets as HTML.
    escaped = text.replace("|", "\\|")
    return escaped if "`" in escaped else escaped.replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text}`"


def commands() -> str:
    """Return the section of every command with its arguments and options."""
    return "\n\n".join(_command(command, path) for path, command in walk(cli, "leanfront"))


def walk(command: click.Command, path: str) -> Iterable[tuple[str, click.Command]]:
    """Yield the words that call each command and the command, in alphabetical order, without groups."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in sorted(command.commands):
        yield from walk(command.commands[name], f"{path} {name}")


def _command(command: click.Command, path: str) -> str:
    arguments = " ".join(
        str(parameter.name).upper() for parameter in command.params if isinstance(parameter, click.Argument)
    )
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in _HIDDEN
    ]
    title = f"### `{path}{' ' + arguments if arguments else ''}`\n\n{inspect.cleandoc(command.help or '')}"
    if not options:
        return title
    rows = [(_code(_usage(option)), _default(option), option.help or "") for option in options]
    return f"{title}\n\n{table(('option', 'default', 'meaning'), rows)}"


def _usage(option: click.Option) -> str:
    names = ", ".join(option.opts)
    if option.is_flag:
        return names
    return f"{names} {option.metavar or option.type.name.upper()}"


def _default(option: click.Option) -> str:
    if said := getattr(option, "shown_default", ""):
        return _code(said)
    shown = option.show_default and not option.is_flag and option.default is not None
    return _code(str(option.default)) if shown else ""


def python() -> str:
    """Return the table of the names in `leanfront.__all__`."""
    rows = []
    for name in leanfront.__all__:
        value = getattr(leanfront, name)
        if inspect.isfunction(value):
            rows.append((_code(f"{name}({_parameters(value)})"), _first(value)))
        elif inspect.isclass(value):
            own = ", ".join(_code(member) for member in _members(value))
            rows.append((_code(name), _first(value) + (f" {own}" if own else "")))
        elif inspect.ismodule(value):
            rows.append((_code(name), f"{_first(value)} {', '.join(map(_code, _classes(value)))}"))
        elif isinstance(value, dict):
            rows.append((_code(name), f"By name: {', '.join(map(_code, value))}."))
        else:
            rows.append((_code(name), "The version of this release."))
    return table(("name", "description"), rows)


def _parameters(function: Callable[..., Any]) -> str:
    """Return the parameters with their defaults; the docstrings explain their types."""
    signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(bare))[1:-1]


def _first(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def _members(value: type) -> list[str]:
    """Return the public methods and properties of a class and of its parents in leanfront."""
    parents = [parent for parent in value.__mro__ if parent.__module__.startswith("leanfront.")]
    found = {
        name: member
        for parent in reversed(parents)
        for name, member in vars(parent).items()
        if name[0] != "_"
    }
    kinds = (property, cached_property, classmethod, staticmethod)
    return sorted(
        name for name, member in found.items() if inspect.isfunction(member) or isinstance(member, kinds)
    )


def _classes(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if inspect.isclass(value)]


def targets() -> str:
    """Return the table of built-in targets."""
    rows = [
        (
            _code(builtin.name),
            builtin.description,
            "; ".join(f"{_code(option)}: {meaning}" for option, meaning in builtin.options.items()),
        )
        for builtin in BUILTINS.values()
    ]
    return table(("target", "description", "options"), rows)


def metrics() -> str:
    """Return the table of metrics."""
    rows = [(_code(m.name), m.unit, "higher" if m.maximise else "lower", m.source) for m in METRICS.values()]
    return table(("metric", "unit", "better", "definition"), rows)


def costs() -> str:
    """Return the table of cost models."""
    rows = [(_code(m.alias), _code(m.name), m.unit, m.source) for m in COST_MODELS.values()]
    return table(("objective", "measurement", "unit", "definition"), rows)


def criteria() -> str:
    """Return the table of criteria."""
    return table(("criterion", "definition"), [(_code(c.name), c.source) for c in CRITERIA.values()])


def presets() -> str:
    """Return the table of presets."""
    return table(("preset", "description"), [(_code(name), _first(make)) for name, make in PRESETS.items()])


def samplers() -> str:
    """Return the table of samplers."""
    rows = [(_code(each.name), each.source) for each in SAMPLERS.values()]
    return table(("sampler", "description"), rows)


def optimisers() -> str:
    """Return the table of optimisers."""
    rows = [(_code(o.name), f"{o.learning_rate:g}", o.source) for o in OPTIMISERS.values()]
    return table(("optimiser", "learning rate", "definition"), rows)


def strategies() -> str:
    """Return the table of strategies."""
    rows = [
        (_code(s.name), ", ".join(map(_code, s.options)) or "none", s.source) for s in STRATEGIES.values()
    ]
    return table(("strategy", "options", "definition"), rows)


def audits() -> str:
    """Return the tables of audit kinds and of the levels that they compare with."""
    kinds = [
        (_code(kind.name), kind.title, ", ".join(map(_code, kind.metrics)) or "-", kind.source)
        for kind in KINDS.values()
    ]
    sets = [
        (_code(name), ", ".join(_code(version.name) for version in level.versions(Structure({}, {}, ()))))
        for name, level in LEVELS.items()
    ]
    return "\n\n".join(
        (
            table(("kind", "description", "metrics", "source"), kinds),
            table(("levels", "versions"), sets),
        )
    )


def corruptions() -> str:
    """Return the table of corruptions."""
    rows = [(_code(c.name), "yes" if c.name in MAIN else "no", c.source) for c in CORRUPTIONS.values()]
    return table(("corruption", "in the main 15", "definition"), rows)


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        commands,
        python,
        targets,
        metrics,
        costs,
        criteria,
        optimisers,
        presets,
        samplers,
        strategies,
        audits,
        corruptions,
    )
}
"""Generators of the parts between the marks ``<!-- generated: NAME -->`` and ``<!-- end -->``."""


def main() -> None:
    """Rewrite the page; with --check, fail if that would change it."""
    old = REFERENCE.read_text(encoding="utf-8")
    new = updated(old)
    if "--check" in sys.argv[1:]:
        if new != old:
            raise SystemExit(f"{REFERENCE.name} is not up to date: run python docs/make_reference.py")
        return
    REFERENCE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
