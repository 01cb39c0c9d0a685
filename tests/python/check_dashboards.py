"""Holds Grafana dashboards against the types of Grafana's own SDK: check_dashboards.py FILE...

A key that Grafana doesn't know would be dropped when the dashboard is read and written again; a value of another type, or
one that isn't among an enumeration's, is found by the types' annotations. Prints what is wrong; exit code 1 if anything is.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(given: object, kept: object, at: str):
    """What of `given` isn't in `kept`; defaults may have been added."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{at}.{key}: unknown"
            else:
                yield from lost(value, kept[key], f"{at}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept)):
            yield from lost(value, other, f"{at}[{number}]")
    elif given != kept:
        yield f"{at}: {given!r} became {kept!r}"


def depth(problems: list[str]) -> float:
    """How deep the first problem lies; endless if there is none."""
    return problems[0].split(": ")[0].count(".") if problems else float("inf")


def mistyped(value: object, hint: object, at: str):
    """Where a value isn't of its annotated type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, typing.Any):
        # An object of Grafana's all the same: a query, a panel's options.
        if hasattr(value, "to_json"):
            yield from fields(value, at)
    elif origin in (typing.Union, types.UnionType):
        # What is wrong by the alternative that is nearest: the others say that it is something else altogether.
        alternatives = [list(mistyped(value, one, at)) for one in arguments if one is not type(None)]
        yield from max(alternatives, key=depth)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{at}: {value!r} is none of {arguments}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{at}: {value!r} is no list"
            return
        for number, one in enumerate(value):
            yield from mistyped(one, arguments[0], f"{at}[{number}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
            return
        for key, one in value.items():
            yield from mistyped(one, arguments[1], f"{at}.{key}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [member.value for member in hint]:
            yield f"{at}: {value!r} is none of {[member.value for member in hint]}"
    elif hint is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{at}: {value!r} is no number"
    elif isinstance(value, dict) and hasattr(hint, "from_json"):
        # The SDK leaves some lists as they are.
        read = hint.from_json(value)
        yield from lost(value, as_json(read), at)
        yield from fields(read, at)
    elif isinstance(hint, type):
        if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
            yield f"{at}: {value!r} is no {hint.__name__}"
        elif hasattr(value, "to_json"):
            yield from fields(value, at)


def as_json(instance: object) -> object:
    return json.loads(json.dumps(instance, cls=JSONEncoder))


def fields(instance: object, at: str):
    hints = typing.get_type_hints(type(instance))
    for name, value in vars(instance).items():
        if name in hints and value is not None:
            yield from mistyped(value, hints[name], f"{at}.{name}")


def main() -> int:
    register_default_plugins()
    wrong = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        dashboard = Dashboard.from_json(given)
        for problem in [*lost(given, as_json(dashboard), path), *fields(dashboard, path)]:
            print(problem)
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
