"""Write the generated parts of reference.md from the code: commands, Python names, registries.

python docs/make_reference.py          rewrite docs/reference.md
python docs/make_reference.py --check  exit with 1 when it is not up to date
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
    """The page with every generated part made anew.

    Raises:
        KeyError: the page names a part that this file does not make.
    """
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]().strip()}\n\n{match[3]}", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    # Outside of code, angle brackets would be read as HTML.
    escaped = text.replace("|", "\\|")
    return escaped if "`" in escaped else escaped.replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text}`"


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_command(command, path) for path, command in walk(cli, "leanfront"))


def walk(command: click.Command, path: str) -> Iterable[tuple[str, click.Command]]:
    """All commands that do something, with the words that call them, in alphabetical order."""
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
    shown = option.show_default and not option.is_flag and option.default is not None
    return _code(str(option.default)) if shown else ""


def python() -> str:
    """Every name of the Python face."""
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
    return table(("name", "what it is"), rows)


def _parameters(function: Callable[..., Any]) -> str:
    """Parameters with their defaults and without their types, which the docstrings explain."""
    signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(bare))[1:-1]


def _first(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def _members(value: type) -> list[str]:
    """Public methods and properties of a class, and of its parents among ours."""
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
    """Built-in targets."""
    rows = [
        (
            _code(builtin.name),
            builtin.description,
            "; ".join(f"{_code(option)}: {meaning}" for option, meaning in builtin.options.items()),
        )
        for builtin in BUILTINS.values()
    ]
    return table(("target", "what it is", "options"), rows)


def metrics() -> str:
    """The metrics' registry."""
    rows = [(_code(m.name), m.unit, "higher" if m.maximise else "lower", m.source) for m in METRICS.values()]
    return table(("metric", "unit", "better", "definition"), rows)


def costs() -> str:
    """The cost models' registry."""
    rows = [(_code(m.alias), _code(m.name), m.unit, m.source) for m in COST_MODELS.values()]
    return table(("objective", "measurement", "unit", "definition"), rows)


def criteria() -> str:
    """The criteria's registry."""
    return table(("criterion", "definition"), [(_code(c.name), c.source) for c in CRITERIA.values()])


def presets() -> str:
    """The presets' registry."""
    return table(("preset", "what it is"), [(_code(name), _first(make)) for name, make in PRESETS.items()])


def samplers() -> str:
    """The samplers' registry."""
    rows = [(_code(each.name), each.source) for each in SAMPLERS.values()]
    return table(("sampler", "what it is"), rows)


def optimisers() -> str:
    """The optimisers' registry."""
    rows = [(_code(o.name), f"{o.learning_rate:g}", o.source) for o in OPTIMISERS.values()]
    return table(("optimiser", "learning rate", "definition"), rows)


def strategies() -> str:
    """The strategies' registry."""
    rows = [
        (_code(s.name), ", ".join(map(_code, s.options)) or "none", s.source) for s in STRATEGIES.values()
    ]
    return table(("strategy", "options", "definition"), rows)


def audits() -> str:
    """The registries of kinds of audits, and of levels that they compare with."""
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
            table(("kind", "what it is", "metrics it measures", "source"), kinds),
            table(("levels", "versions"), sets),
        )
    )


def corruptions() -> str:
    """The corruptions' registry."""
    rows = [(_code(c.name), "yes" if c.name in MAIN else "no", c.source) for c in CORRUPTIONS.values()]
    return table(("corruption", "of the main 15", "definition"), rows)


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
"""What can stand between the marks ``<!-- generated: NAME -->`` and ``<!-- end -->``."""


def main() -> None:
    """Rewrite the page, or with --check say whether that would change it."""
    old = REFERENCE.read_text(encoding="utf-8")
    new = updated(old)
    if "--check" in sys.argv[1:]:
        if new != old:
            raise SystemExit(f"{REFERENCE.name} is not up to date: run python docs/make_reference.py")
        return
    REFERENCE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
