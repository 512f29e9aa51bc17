"""A verb's command line, made from the dataclass of its options."""

import argparse
import dataclasses
import os
import sys
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from types import ModuleType
from typing import Any, Literal, NoReturn

import docstring_parser
import yaml

from mosei_ssl.config import DataConfig
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import OptionError, Options
from mosei_ssl.utils.parsing import chosen, from_mapping, merge, nested, read_yaml, required_options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}. `{self.prog} --help-all` explains all options.")


def positional(**settings: Any) -> Any:
    """A dataclass field that is given by its place on the line instead of by name."""
    return dataclasses.field(metadata={"positional": True}, **settings)


def parse_options(verb: ModuleType, arguments: Sequence[str]) -> Options:
    """Parse what follows a verb into the dataclass that annotates the parameter of its `run`.

    The line wins over --config files, wherever these stand, and later files over earlier ones.
    """
    cls = typing.get_type_hints(verb.run)["options"]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    arguments = [*_joined(cls, [*map(_dashed, arguments[:end])]), *arguments[end:]]
    # Which options there are depends on the backbone and the task.
    shown = () if "--help-all" in arguments[:end] else cls.common
    parser = _parser_of_choices(verb, cls, shown)
    found = vars(parser.parse_known_args(arguments)[0])
    takes_files = issubclass(cls, DataConfig)
    files = found.get("config", []) if takes_files else []
    in_files = merge(*(nested(read_yaml(file)) for file in files))
    kinds = {name: value for name, value in found.items() if "." in name}
    with _explained(parser, kinds, files):
        names = _add_options(parser, cls, merge(in_files, nested(kinds)), shown)
    _add_switches(parser, bool(shown))
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].partition("=")[0]
        if not name.startswith("-"):
            parser.error(f"nothing is expected at {name!r}")
        parser.error(f"there is no option {name}{_nearest(name, names.values())}")
    on_line = {name: vars(parsed)[name] for name in (*names, *kinds) if name in parsed}
    for name, value in on_line.items():
        # A list may also be written as in YAML: [a,b].
        if isinstance(value, list) and value[0].startswith("["):
            on_line[name] = " ".join(value)
    values = merge(in_files, nested(on_line))
    missing = [name for name in required_options(cls) if values.get(name) is None]
    with _explained(parser, on_line, files):
        if takes_files and "print_config" in parsed:
            # What is printed need not be complete.
            options = from_mapping(cls, {**values, **dict.fromkeys(missing, "")})
            content = dataclasses.asdict(options) | dict.fromkeys(missing)
            sys.stdout.write(yaml.safe_dump(content, sort_keys=False))
            sys.exit(0)
        if missing:
            parser.error(f"{' and '.join(names[name] for name in missing)} must be given")
        return from_mapping(cls, values)


def _joined(cls: type[Options], arguments: Sequence[str]) -> list[str]:
    """Text that begins with one dash, such as a pattern, as the value of the option before it."""
    hints = typing.get_type_hints(cls).items()
    texts = {f"--{name}".replace("_", "-") for name, hint in hints if hint in (str, str | None)}
    joined: list[str] = []
    for argument in arguments:
        pattern = argument.startswith("-") and not argument.startswith("--") and len(argument) > 2
        if pattern and joined and joined[-1] in texts:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _dashed(argument: str) -> str:
    """An option as it is declared, and a file whose name begins with a dash as a file."""
    if argument.startswith("-") and os.path.lexists(argument):
        return os.path.join(os.curdir, argument)
    name, sign, value = argument.partition("=")
    if not name.startswith("--"):
        return argument
    return name.replace("_", "-") + sign + value


def complete_parser(verb: ModuleType) -> argparse.ArgumentParser:
    """The parser of a verb with all its options, for those who read it instead of a line."""
    cls = typing.get_type_hints(verb.run)["options"]
    parser = _parser_of_choices(verb, cls)
    _add_options(parser, cls, {})
    _add_switches(parser)
    return parser


def _parser_of_choices(
    verb: ModuleType, cls: type[Options], shown: Collection[str] = ()
) -> _Parser:
    """A parser of what can be read without knowing which backbone and task were chosen."""
    program = f"mosei-ssl {verb.__name__.rpartition('.')[2]}"
    usage, hints, required = [program], typing.get_type_hints(cls), required_options(cls)
    for field in dataclasses.fields(cls):
        value = _metavar(field)
        if "positional" in field.metadata:
            value += "..." if typing.get_origin(hints[field.name]) is list else ""
            usage.append(value if field.name in required else f"[{value}]")
        elif field.name in required:
            usage.append(f"--{field.name} {value}")
    parser = _Parser(
        prog=program,
        usage=" ".join([*usage, "[options]"]),
        description=verb.__doc__,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=28),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    if issubclass(cls, DataConfig):
        text = "YAML file of options, or name of one that ships"
        parser.add_argument("--config", action="append", help=text)
        parser.add_argument("--print-config", action="store_true", help="print all options as YAML")
    for name, hint in hints.items():
        if registry := getattr(hint, "registry", None):
            name = f"{name}.{hint.discriminator}"
            text = f"it has its own options (default: {next(iter(registry))})"
            parser.add_argument(
                f"--{name}",
                dest=name,
                metavar=f"{{{','.join(registry)}}}",
                help=text if not shown or name in shown else argparse.SUPPRESS,
            )
    return parser


def _add_switches(parser: argparse.ArgumentParser, abridged: bool = False) -> None:
    """Add what every verb has."""
    group = parser.add_argument_group("of every verb")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="warnings and errors only")
    loudness.add_argument("-v", "--verbose", action="store_true", help="debug messages, too")
    group.add_argument("--debug", action="store_true", help="debug messages and tracebacks")
    group.add_argument("-h", "--help", action="help", help="explain the verb")
    text = "explain its rarely used options, too" if abridged else argparse.SUPPRESS
    group.add_argument("--help-all", action="help", help=text)


def _add_options(
    parser: argparse._ActionsContainer,
    cls: type[Options],
    given: Mapping[str, Any],
    shown: Collection[str] = (),
    group: str = "",
) -> dict[str, str]:
    """Add an option for each field; gives the spelling of each by its dotted name."""
    hints, docs = typing.get_type_hints(cls), _docs(cls)
    names: dict[str, str] = {}
    required = required_options(cls)
    for field in sorted(dataclasses.fields(cls), key=lambda field: field.name not in required):
        name, hint, text = f"{group}{field.name}", hints[field.name], docs.get(field.name, "")
        if field.name == getattr(cls, "discriminator", None):
            continue
        if isinstance(hint, type) and issubclass(hint, Options):
            section = given.get(field.name)
            section = section if isinstance(section, Mapping) else {}
            kind = chosen(hint, section, name)
            title = (docstring_parser.parse(kind.__doc__ or "").short_description or "").rstrip(".")
            box = parser.add_argument_group(title)
            names |= _add_options(box, kind, section, shown, f"{name}.")
            continue
        names[name] = f"--{name}".replace("_", "-")
        settings: dict[str, Any] = {"metavar": _metavar(field, hint)}
        if typing.get_origin(hint) is list:
            settings["nargs"] = "+"
        elif typing.get_origin(hint) is Literal:
            settings["metavar"] = f"{{{','.join(typing.get_args(hint))}}}"
        if "positional" in field.metadata:
            names[name] = settings["metavar"]
            # What is missing is reported in one place, after unknown options.
            parser.add_argument(name, help=text, **settings).required = False
            continue
        if hint is bool and group == "" and not issubclass(cls, DataConfig):
            # With an optional value it would take the audio file after it for that.
            settings = {"action": "store_true"}
        elif hint is bool:
            # A file may turn it on, and the line off again: --freeze-backbone false.
            settings = {"nargs": "?", "const": True, "metavar": "false"}
        text = (text + _default(field)).replace("%", "%%")
        if shown and name not in shown:
            text = argparse.SUPPRESS
        parser.add_argument(names[name], dest=name, help=text, **settings)
    return names


def _metavar(field: dataclasses.Field, hint: Any = None) -> str:
    """What stands for the value in a help text: short, so that the explanation fits beside it."""
    numbers = {int: "N", float: "X"}
    kinds = {hint, *typing.get_args(hint)} & set(numbers)
    word = field.name.upper().rpartition("_")[2]
    return word if "positional" in field.metadata or not kinds else numbers[min(kinds, key=str)]


def _docs(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each field."""
    found = {}
    for base in reversed(cls.__mro__):
        for field in docstring_parser.parse(base.__doc__ or "").params:
            found[field.arg_name] = (field.description or "").rstrip(".")
    return found


def _default(field: dataclasses.Field) -> str:
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = f"[{','.join(map(str, field.default_factory()))}]"
    if value is None or value is False or value in ("[]", dataclasses.MISSING):
        return ""
    return f" (default: {'true' if value is True else value})"


def _nearest(name: str, spellings: Collection[str]) -> str:
    """The closest option in brackets, or nothing; a user may know its last part only."""
    ends = {spelling.rpartition(".")[2]: spelling for spelling in reversed(list(spellings))}
    candidates = ends | {spelling: spelling for spelling in spellings}
    found = [spelling for spelling in spellings if spelling.endswith(f".{name[2:]}")]
    found = found or [candidates[close] for close in get_close_matches(name, candidates, 1)]
    return f" (nearest: {', '.join(found)})" if found else ""


@contextmanager
def _explained(parser: _Parser, on_line: Collection[str], files: Sequence[str]) -> Iterator[None]:
    """Say whether the line or a file has the mistake."""
    try:
        yield
    except OptionError as error:
        name = error.group + error.name
        if name in on_line or not files:
            parser.error(f"--{name.replace('_', '-')} {error.problem}")
        raise UserError(f"{', '.join(files)}: {error}") from None
