"""Chooses a model of a repository: the named one, that of a quantization, or the one that suits most people.

A model is a file, or the parts of a split one. This module knows names and sizes only. It makes no request and reads no
file.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from tui_llama.files.model_parts import part_name
from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub.reference import HubReference

# What is taken where nothing is chosen: first what nearly everyone takes, then by how little quality is lost for the
# size. Only what the engine runs.
PREFERRED: Final = (
    *("Q4_K_M", "Q4_K_S", "UD-Q4_K_XL", "Q5_K_M", "Q5_K_S", "Q4_1", "Q4_0", "Q5_1", "Q5_0", "Q6_K", "Q8_0"),
    *("MXFP4", "MXFP4_MOE", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "BF16", "F16", "F32"),
)
MOST_NAMES: Final = 6

_SUFFIX: Final = r"_(?:[0-9]|K|S|M|L|XS|XL|XXS|NL|MOE)(?![A-Za-z0-9])"
_QUANTIZATION = re.compile(
    rf"(?<![A-Za-z0-9])(?:UD-)?(?:I?Q[0-9](?:{_SUFFIX})+|TQ[0-9]_[0-9]|BF16|FP?16|FP?32|(?:MX|NV)FP4(?:{_SUFFIX})*)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)


class HubFile(msgspec.Struct, frozen=True):
    """A GGUF file on the hub.

    Attributes:
        name: Its path in the repository, with forward slashes.
        size_bytes: -1 where the hub has not said.
        content_hash: Hexadecimal: SHA-256 of the content, or for a file that lies in Git itself Git's SHA-1 of it.
            Empty where the hub has not said. Also the name of the content in the cache.
    """

    name: str
    size_bytes: int = -1
    content_hash: str = ""


def choose(reference: HubReference, files: Sequence[HubFile]) -> list[HubFile]:
    """Finds the model that is meant.

    Args:
        reference: What the user has typed.
        files: The GGUF files of the repository.

    Returns:
        The model's file, or all parts of a split one, the first in front.

    Raises:
        DownloadError: There is none, there are several, parts are missing, or it is of a kind that cannot be run.
    """
    if not files:
        raise DownloadError(
            f"{reference.repository} has no GGUF file", "Look for a repository of the same model with GGUF in its name."
        )
    if reference.file:
        file = _named(reference, files)
    elif reference.quantization:
        file = _of_quantization(reference, files)
    else:
        file = _preferred(reference, files)
    _check_runnable(reference, file)
    return _all_parts(reference, file, files)


def whole_models(files: Sequence[HubFile]) -> list[HubFile]:
    """Returns the files that stand for models: no later parts, projectors of images or importance matrices."""
    return [file for file in files if not (_is_later_part(file) or _is_projector(file) or _is_importance_matrix(file))]


def quantization_of(name: str) -> str:
    """Returns the quantization that a file's name tells, such as "Q4_K_M"; empty where it tells none."""
    found = _QUANTIZATION.findall(name)
    return found[-1].upper().replace("FP16", "F16").replace("FP32", "F32") if found else ""


def _named(reference: HubReference, files: Sequence[HubFile]) -> HubFile:
    for file in files:
        if file.name == reference.file:
            return file
    # Without the ending, which all of them share and which would make all of them near.
    by_stem = {file.name[: -len(".gguf")]: file for file in files}
    near = difflib.get_close_matches(reference.file[: -len(".gguf")], by_stem, n=MOST_NAMES)
    meant = [by_stem[stem] for stem in near] or files
    raise DownloadError(f"{reference.repository} has no file {reference.file}", f"It has {_names(meant)}.")


def _of_quantization(reference: HubReference, files: Sequence[HubFile]) -> HubFile:
    wanted = reference.quantization
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(wanted)}(?![A-Za-z0-9])(?!{_SUFFIX})", re.IGNORECASE)
    matching = [file for file in files if word.search(file.name) and not _is_projector(file)]
    if not matching:
        have = ", ".join(sorted({quantization_of(file.name) for file in whole_models(files)} - {""}))
        raise DownloadError(f"{reference.repository} has no {wanted}", f"It has {have or _names(files)}.")
    # Where all of them are later parts, one stands for the rest, to be refused.
    candidates = whole_models(matching) or matching[:1]
    exact = [file for file in candidates if quantization_of(file.name) == wanted.upper()]
    return _only(reference, exact if len(exact) == 1 else candidates)


def _preferred(reference: HubReference, files: Sequence[HubFile]) -> HubFile:
    candidates = whole_models(files)
    if not candidates:
        return files[0]
    for quantization in PREFERRED if len(candidates) > 1 else ():
        matching = [file for file in candidates if quantization_of(file.name) == quantization]
        if matching:
            return _only(reference, matching)
    return _only(reference, candidates)


def _only(reference: HubReference, candidates: Sequence[HubFile]) -> HubFile:
    if len(candidates) == 1:
        return candidates[0]
    raise DownloadError(
        f"{reference.repository} has {len(candidates)} matching files: {_names(candidates)}",
        f"Name one of them: hf:{reference.repository}:{candidates[0].name}",
    )


def _check_runnable(reference: HubReference, file: HubFile) -> None:
    if _is_projector(file):
        raise DownloadError(
            f"{file.name} is only the image part of a model",
            f"Choose the model itself: hf:{reference.repository}",
        )


def _all_parts(reference: HubReference, file: HubFile, files: Sequence[HubFile]) -> list[HubFile]:
    part = part_name(file.name)
    if part is None:
        return [file]
    by_name = {each.name: each for each in files}
    names = [part.of(number) for number in range(1, part.count + 1)]
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DownloadError(
            f"{reference.repository} does not have all {part.count} parts of the model: {missing[0]} is missing",
            "Choose another file or repository.",
        )
    return [by_name[name] for name in names]


def _is_later_part(file: HubFile) -> bool:
    part = part_name(file.name)
    return part is not None and part.number > 1


def _is_projector(file: HubFile) -> bool:
    return "mmproj" in file.name.lower()


def _is_importance_matrix(file: HubFile) -> bool:
    return "imatrix" in file.name.lower() and not quantization_of(file.name)


def _names(files: Sequence[HubFile]) -> str:
    shown = ", ".join(file.name for file in files[:MOST_NAMES])
    return f"{shown} and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else shown
