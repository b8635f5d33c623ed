"""YAML files to validated, frozen models; the messages when they are wrong."""

import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from yaml import YAMLError

from conf.errors import ConfigurationError


class Strict(BaseModel):
    """Unknown keys are errors and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_option(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("give text, a number, true or false")


Model = TypeVar("Model", bound=BaseModel)
# What Spark's readers and its configuration take: text, however YAML understood it.
OptionValue = Annotated[str, BeforeValidator(_as_option)]


def shipped(name: str) -> str | None:
    """The text of a file shipped in the package `conf` (also from inside a wheel), or None."""
    file = resources.files("conf").joinpath(name)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def shipped_names(folder: str = "") -> list[str]:
    """The names, without `.yml`, of the YAML files shipped in a folder of `conf`."""
    files = resources.files("conf").joinpath(folder) if folder else resources.files("conf")
    return sorted(f.name[:-4] for f in files.iterdir() if f.name.endswith(".yml"))


def find(name: str, folder: str = "") -> tuple[str, str]:
    """Where a YAML file is and what it says, given a path or the name of a shipped file.

    Raises ConfigurationError when there is neither.
    """
    path = Path(os.path.expanduser(name))
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path}: not a YAML file in UTF-8") from None
    inside = f"{folder}/{path.stem}.yml" if folder else f"{path.stem}.yml"
    text = shipped(inside) if name in (path.stem, f"conf/{inside}") else None
    if text is None:
        known = ", ".join(shipped_names(folder))
        raise ConfigurationError(f"{name}: no such file, and none of the shipped ones ({known})")
    return f"conf/{inside}", text


def validated(
    model: type[Model],
    layers: Sequence[tuple[str, str]],
    overrides: Sequence[str] = (),
) -> Model:
    """One frozen model from YAML layers (later ones win, maps are merged) and `a.b=c` overrides.

    Raises ConfigurationError naming the key, the value and what is allowed.
    """
    merged = OmegaConf.create({})
    for where, text in layers:
        merged = _merged(merged, where, partial(OmegaConf.create, text or "{}"))
    for override in overrides:
        key, separator, _ = override.partition("=")
        if not separator or not key.strip():
            raise ConfigurationError(f"--set {override}: write it as section.key=value")
        where = f"--set {override}"
        merged = _merged(merged, where, partial(OmegaConf.from_dotlist, [override]))
    try:
        values = OmegaConf.to_container(merged, resolve=True)
        return model.model_validate(values)
    except OmegaConfBaseException as problem:
        said = str(problem).split("\n")[0].removeprefix("KeyError raised while resolving ")
        raise ConfigurationError(f"{layers[-1][0]}, {problem.full_key}: {said}") from None
    except ValidationError as problem:
        where = f"{layers[-1][0]}" + (" with --set" if overrides else "")
        lines = [f"  {_explained(error, model, values)}" for error in problem.errors()]
        raise ConfigurationError(
            "\n".join([f"{where}: the configuration is wrong:", *lines])
        ) from None


def _merged(below: DictConfig, where: str, read: Callable[[], Any]) -> DictConfig:
    try:
        return DictConfig(OmegaConf.merge(below, read()))
    except (OmegaConfBaseException, YAMLError, ValueError) as problem:
        raise ConfigurationError(f"{where}: not valid YAML: {problem}") from None
    except TypeError:
        raise ConfigurationError(f"{where}: a list where a section with keys is wanted") from None


def _explained(error: ErrorDetails, model: type[BaseModel], values: Any) -> str:
    key = _key(error["loc"], values)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(error['loc'], model)}"
    if error["type"] == "missing":
        return f"{key}: missing, and required"
    if error["type"] == "string_type" and isinstance(error["input"], bool | int):
        return f"{key}: YAML reads this as {error['input']}; put it in quotes"
    return f"{key}: {error['msg'].removeprefix('Value error, ')} (got {error['input']!r})"


def _key(location: Sequence[int | str], values: Any) -> str:
    """Where in the values it is; one of a list goes by its name, if it has one."""
    said: list[str] = []
    for part in location:
        if isinstance(part, int) and isinstance(values, list):
            values = values[part]
            named = isinstance(values, dict) and values.get("name")
            said.append(str(named or part))
        else:
            values = values.get(part) if isinstance(values, dict) else None
            said.append(str(part))
    return ".".join(said)


def _suggestion(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    known: type[BaseModel] | None = model
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = known.model_fields.get(part) if known else None
        annotation = field.annotation if field else None
        # A section, a section or null, or a list of sections.
        models = (a for a in (annotation, *get_args(annotation)) if _is_model(a))
        known = next(models, None)
    names = list(known.model_fields) if known else []
    guess = closest(str(location[-1]), names)
    return guess or (f"; known here: {', '.join(names)}" if names else "")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def closest(name: str, known: Iterable[str]) -> str:
    """The words that ask whether one of the known names was meant, or none."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
