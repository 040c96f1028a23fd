"""The second stage of an export: the format writes its artifact aside, and the runtime that will prove the artifact loads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.plan import Plan
from exporters.registry import Target
from mnist_edge.common.errors import ExportError, FixedBatchError, MnistEdgeError, ModelError, ParityError, one_line
from mnist_edge.common.logits import Run
from mnist_edge.common.trees import Tree, read_tree
from mnist_edge.proof.golden import Golden
from mnist_edge.runtimes import apart

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed


@dataclass(frozen=True)
class File:
    """An artifact, a file or a folder, that is written aside and loaded.

    Attributes:
        path: its temporary place.
        tree: its hash and size.
        run: the artifact, loaded by the format's runtime.
        details: what its exporter says about it, as JSON values.
    """

    path: Path
    tree: Tree
    run: Run
    details: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """The written artifact and, for a lower precision, the float32 one that it was made from."""

    artifact: File
    float32: File | None = None


def write(plan: Plan, aside: Path, golden: Golden) -> Written:
    """Write the planned artifact into the empty folder `aside`, each precision in its own folder, and load it.

    A lower precision is made from the float32 artifact, so that the comparison of size, speed and layers is fair; or from the artifact in the
    same precision that the format has as its source. `golden` may be written into the artifact as a self-test.

    Ensures: a file or a folder, with no links in it and nothing beside it, which the runtime loads and which keeps the contract.
    Raises ExportError, ParityError if it does not run, any error of this package that the exporter raises, and OSError.
    """
    if plan.source is not None:
        return Written(
            _write(plan, _target(plan, aside, plan.precision, plan.file, plan.options, golden), _derived, plan.reduction is not None)
        )
    own = {option.name for option in plan.format.options}
    plain = {name: value for name, value in plan.options.items() if name in own}
    if plan.reduction is None:
        return Written(_write(plan, _target(plan, aside, "float32", plan.file, plan.options, golden), _exported))
    float32 = _write(plan, _target(plan, aside, "float32", f"float32{plan.format.suffix}", plain, golden), _exported)
    target = _target(plan, aside, plan.precision, plan.file, plan.options, golden)
    convert = plan.reduction.convert

    def reduced(plan: Plan, target: Target) -> Mapping[str, Any]:
        details = dict(convert(float32.path, target))
        if warned := [*float32.details.get("warnings", ()), *details.get("warnings", ())]:
            details["warnings"] = warned
        return details

    return Written(_write(plan, target, reduced, is_reduced=True), float32)


def _target(plan: Plan, aside: Path, precision: str, file: str, options: Mapping[str, Any], golden: Golden) -> Target:
    """Give a target its own folder. Whatever else is in it afterwards, the exporter wrote."""
    folder = aside / precision
    folder.mkdir()
    manifest = plan.model.manifest
    calibration = plan.calibration if precision == plan.precision else None
    about = (manifest.name, manifest.architecture, manifest.classes, manifest.licence)
    return Target(folder / file, *about, precision, options, calibration, golden)


def _derived(plan: Plan, target: Target) -> Mapping[str, Any]:
    """Make an artifact from the one that is its source, after checking that one's hash."""
    assert plan.source is not None
    convert: Callable[[Path, Target], Mapping[str, Any]] = plan.reduction.convert if plan.reduction else plan.format.export
    return dict(convert(plan.model.path(plan.source), target)) | {"source": {"file": plan.source.file, "sha256": plan.source.sha256}}


def _exported(plan: Plan, target: Target) -> Mapping[str, Any]:
    export: Callable[[Deployed, Target], Mapping[str, Any]] = plan.format.export
    return export(_network(plan), target)


def _network(plan: Plan) -> Deployed:
    """Load a separate network for the exporter: changes that it makes must not reach the reference."""
    from mnist_edge.runtimes.torch import load_network

    return load_network(plan.model)


def _write(plan: Plan, target: Target, write: Callable[[Plan, Target], Mapping[str, Any]], is_reduced: bool = False) -> File:
    name = plan.format.name
    try:
        details = dict(write(plan, target))
    except (MnistEdgeError, OSError, KeyboardInterrupt):
        raise
    except BaseException as error:  # another distribution's exporter may raise anything, even SystemExit
        raise ExportError(f"format {name}: {one_line(error)}") from error
    tree = _checked(name, target.path)
    try:
        kept: dict[str, Any] = json.loads(json.dumps(details, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ExportError(f"format {name}: its details are not JSON: {error}") from error
    warned = kept.get("warnings", [])
    if not isinstance(warned, list) or not all(isinstance(one, str) for one in warned):
        raise ExportError(f"format {name}: its warnings are {warned!r}, but must be a list of strings")
    _try_apart(plan, target, is_reduced)
    return File(target.path, tree, _load(plan, target.path), kept)


def _checked(name: str, path: Path) -> Tree:
    """Read what a format wrote. Raises ExportError unless that is one file or one folder, without links and with nothing beside it."""
    extra = sorted(one.name for one in path.parent.iterdir() if one != path)
    if path.is_symlink():
        raise ExportError(f"format {name}: wrote a symbolic link; an artifact is a file or a folder of its own")
    if not path.exists():
        raise ExportError(f"format {name}: wrote nothing")
    files = [Path(root, file) for root, _, names in os.walk(path) for file in names] if path.is_dir() else [path]
    if any(file.lstat().st_nlink > 1 for file in files):
        raise ExportError(f"format {name}: wrote a hard link to a file elsewhere; an artifact must have files of its own")
    if extra:
        raise ExportError(f"format {name}: an artifact is one file or one folder; it also wrote {', '.join(extra)}")
    try:
        return read_tree(path)
    except ModelError as error:
        raise ExportError(f"format {name}: {str(error).replace(f'{path.parent}/', '')}") from error


def _load(plan: Plan, path: Path) -> Run:
    try:
        return plan.runtime.load(path)
    except ModelError as error:
        frozen = isinstance(error, FixedBatchError)
        hint = " (in a network, len(x) and int(x.shape[0]) freeze the batch; x.shape[0] does not)" if frozen else ""
        raise ParityError(
            f"not published: what format {plan.format.name} wrote does not run: {str(error).replace(f'{path}: ', '')}{hint}"
        ) from error


def _try_apart(plan: Plan, target: Target, is_reduced: bool) -> None:
    """Try a reduced artifact, or one for another distribution's runtime, in a separate process. Raises ParityError if that process dies."""
    try:
        apart.check(plan.runtime, target.path, always=is_reduced)
    except ModelError as error:
        how = str(error).replace(f"{target.path}: ", "").removesuffix(" it")
        hint = "; try another --quantize, or --keep-float for parts of it" if is_reduced else ""
        raise ParityError(
            f"{target.name}: not published: {how} what format {plan.format.name} wrote in {target.precision}{hint}"
        ) from error
