"""Values of flags: text in, a value or a sentence about what is allowed out. argparse prints the sentence."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network

MAX_PORT = 65535

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_SIZE = re.compile(r"(?=.*[1-9])[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int


def parse_list(text: str) -> tuple[str, ...]:
    """Splits words at commas, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def parse_port(text: str) -> int:
    """Reads a port."""
    return parse_number(text, most=MAX_PORT)


def parse_ports(text: str) -> tuple[int, ...]:
    """Reads one port or more."""
    ports = tuple(map(parse_port, parse_list(text)))
    if not ports:
        raise ArgumentTypeError("'' is not allowed; one port or more, separated by commas")
    return ports


def build_number_parser(*, least: int, most: int) -> Callable[[str], int]:
    """Builds a parser of whole numbers within bounds."""
    return lambda text: parse_number(text, least=least, most=most)


def parse_number(text: str, *, least: int = 1, most: int) -> int:
    """Reads a whole number within bounds."""
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ArgumentTypeError(f"{text!r} is not allowed; a whole number of {least} to {most}")
    return int(text)


def parse_address(text: str) -> Address | None:
    """Reads HOST:PORT; empty is none."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host:
        raise ArgumentTypeError(f"{text!r} is not allowed; HOST:PORT, an IPv6 address in brackets")
    return Address(host.removeprefix("[").removesuffix("]"), parse_port(port))


def parse_namespace(text: str) -> str:
    """Reads the name of a namespace."""
    if not _NAME.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not allowed; the name of a namespace, such as kube-system")
    return text


def parse_labels(text: str) -> dict[str, str]:
    """Reads labels that select pods: none would select every pod of the namespace, and so open it."""
    pairs = [word.partition("=") for word in parse_list(text)]
    if not pairs or not all(
        sign and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value) for key, sign, value in pairs
    ):
        raise ArgumentTypeError(f"{text!r} is not allowed; KEY=VALUE, one label or more, separated by commas")
    return {key: value for key, _, value in pairs}


def parse_ip_blocks(text: str) -> tuple[str, ...]:
    """Reads blocks of addresses."""
    return tuple(map(_parse_ip_block, parse_list(text)))


def parse_size(text: str) -> str:
    """Reads a size as Kubernetes writes it."""
    if not _SIZE.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not allowed; a size above 0, such as 1Gi or 500M")
    return text


def _parse_ip_block(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not allowed; a block of addresses, such as 169.254.20.10/32 ({error})"
        ) from None
    return str(network)
