"""The manifest file: one SplitTraining, and the ConfigMaps of the same file that hold the model's source."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from splittraining.api.errors import SpecInvalid
from splittraining.api.usage import UsageInvalid

KIND = "SplitTraining"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest file as read, nothing validated but its shape.

    `sources` holds, by ConfigMap name, file names and bytes: the file's own ConfigMaps, overridden by `--source`.
    """

    path: Path
    training: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, bytes]]
    replaced_sources: frozenset[str] = frozenset()
    """Names of the ConfigMaps that folders stand in for."""

    @property
    def folder(self) -> Path:
        """The folder that relative defaults start from."""
        return self.path.resolve().parent


def load_manifest(path: Path, *, source_folders: Mapping[str, Path] | None = None) -> Manifest:
    """Reads a manifest file.

    Args:
        path: A YAML file with one SplitTraining and any other Kubernetes documents.
        source_folders: Folders of *.py files that stand in for ConfigMaps, by name.

    Raises:
        SpecInvalid: if the file is not YAML, or has no SplitTraining or several.
        UsageInvalid: if the file or a source folder cannot be read.
    """
    documents = parse_documents(read_text(path), name=str(path))
    training = _find_training(documents, path)
    sources = dict(
        _parse_config_map(document, path)
        for document in documents
        if document.get("kind") == "ConfigMap" and _is_beside(document, training)
    )
    sources.update({name: _read_source_folder(folder) for name, folder in (source_folders or {}).items()})
    return Manifest(path, training, sources, frozenset(source_folders or ()))


def read_text(path: Path) -> str:
    """Returns the text of a manifest file.

    Raises:
        UsageInvalid: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageInvalid(
            f"{path} cannot be read: {error.strerror}", remedy="give the path of a manifest with -f"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecInvalid(f"{path} is not UTF-8 text: {error}", allowed="YAML in UTF-8") from error


def parse_documents(text: str, *, name: str) -> list[dict[str, Any]]:
    """Parses the YAML documents of a file, leaving out empty ones.

    Args:
        text: The file's text.
        name: The file's name, for messages.

    Raises:
        SpecInvalid: if it is not YAML, gives a key twice, or a document is not a mapping.
    """
    try:
        documents = [document for document in yaml.load_all(text, Loader=_StrictLoader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise SpecInvalid(f"{place}: not valid YAML: {problem}", remedy="mend the line") from error
    except yaml.YAMLError as error:
        raise SpecInvalid(f"{name}: not valid YAML: {error}") from error
    for document in documents:
        if not isinstance(document, dict):
            raise SpecInvalid(
                f"{name}: a document is {type(document).__name__}, not a mapping",
                allowed="Kubernetes documents with apiVersion, kind and metadata, separated by ---",
            )
    return documents


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset, refusing keys that stand twice: the second would win without a word."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's own signature
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice in one mapping", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _find_training(documents: list[dict[str, Any]], path: Path) -> dict[str, Any]:
    found = [document for document in documents if document.get("kind") == KIND]
    if not found:
        kinds = sorted({str(document.get("kind")) for document in documents}) or ["nothing"]
        raise SpecInvalid(
            f"{path} holds no {KIND} (found: {', '.join(kinds)})",
            allowed=f"one document with kind: {KIND}",
            remedy="check the file and the spelling of kind",
        )
    if len(found) > 1:
        names = ", ".join(str(_get_metadata(document).get("name")) for document in found)
        raise SpecInvalid(
            f"{path} holds {len(found)} SplitTrainings ({names})",
            allowed="one SplitTraining in a file",
            remedy="put each into a file of its own",
        )
    return found[0]


def _get_metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _is_beside(document: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    """Whether a document is in the training's namespace; one that names none goes where the training goes."""
    namespace = _get_metadata(document).get("namespace")
    return namespace in (None, _get_metadata(training).get("namespace"))


def _parse_config_map(document: Mapping[str, Any], path: Path) -> tuple[str, dict[str, bytes]]:
    name = _get_metadata(document).get("name")
    if not isinstance(name, str):
        raise SpecInvalid(f"{path}: a ConfigMap has no metadata.name", remedy="name it")
    files: dict[str, bytes] = {}
    for key, value in _get_section(document, "data", name, path).items():
        if not isinstance(value, str):
            raise SpecInvalid(
                f"{path}: ConfigMap {name}: data.{key} is {type(value).__name__}",
                allowed="text",
                remedy=f"write it as a block: `{key}: |`",
            )
        files[key] = value.encode()
    for key, value in _get_section(document, "binaryData", name, path).items():
        try:
            files[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise SpecInvalid(
                f"{path}: ConfigMap {name}: binaryData.{key} is not base64", remedy="encode it, or use data"
            ) from error
    _check_file_names(files, f"{path}: ConfigMap {name}")
    return name, files


def _get_section(document: Mapping[str, Any], section: str, name: str, path: Path) -> Mapping[str, Any]:
    value = document.get(section) or {}
    if not isinstance(value, dict):
        raise SpecInvalid(
            f"{path}: ConfigMap {name}: {section} is {type(value).__name__}", allowed="a mapping of file names to text"
        )
    return {str(key): content for key, content in value.items()}


def _check_file_names(files: Mapping[str, bytes], place: str) -> None:
    for file_name in files:
        if Path(file_name).name != file_name or file_name in (".", ".."):
            raise SpecInvalid(
                f"{place} has the key {file_name!r}", allowed="plain file names, as in a folder without subfolders"
            )


def _read_source_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise UsageInvalid(f"--source names {folder}, which is not a folder", remedy="give a folder of *.py files")
    files = {file.name: file.read_bytes() for file in sorted(folder.glob("*.py")) if file.is_file()}
    if not files:
        raise UsageInvalid(f"--source names {folder}, which has no *.py file", remedy="give a folder of *.py files")
    return files
