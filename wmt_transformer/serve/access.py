"""Who may ask, and how often: keys, of which only hashes are kept, and rates of each key and of each address.

A key is 256 random bits, so one round of SHA-256 hides it as well as many would. The file of hashes is read again when
it changes: who is struck out of it is refused from then on. How often each may ask is counted by the package `limits`,
in this process or in a Redis that several share; a list of texts counts as many times as it has texts.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limits import RateLimitItem, parse_many
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from starlette.requests import Request

from wmt_transformer.config import UserError
from wmt_transformer.files import append_line
from wmt_transformer.reading import read_lines
from wmt_transformer.serve.failures import Refused

LINE = re.compile(r"([0-9a-f]{64}) (\S.*)")
FIELDS = ("api_key", "apiKey", "auth_key", "key")
"""How LibreTranslate, one of its clients, DeepL and Google call the key, in a body or a query."""


class Keys:
    """The keys of a file."""

    def __init__(self, path: Path):
        self._path = path
        self._state: Any = None
        self._read()

    def name(self, key: str) -> str | None:
        """Returns whose a key is, None for one that is not in the file. Takes as long for each key."""
        self._read()
        digest = _digest(key)
        found = None
        for known, name in self._known:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _read(self) -> None:
        """Raises UserError for a file that cannot be read, and for a line in it that is none of ours."""
        try:
            stat = self._path.stat()
        except OSError as error:
            raise UserError(f"cannot read {self._path}: {error.strerror}; make a key with --new-key") from None
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if state != self._state:
            self._known = _entries(self._path)
            self._state = state


def new_key(path: Path, name: str) -> str:
    """Adds a key to a file, which need not exist, and returns the key: it is nowhere else."""
    if not name.strip() or len(name.splitlines()) != 1:
        raise UserError(f"the name of a key is one line, and this is {name!r}; say whose key it is")
    if path.exists():
        _entries(path)  # are they keys?
    key = secrets.token_urlsafe(32)
    append_line(path, f"{_digest(key)} {name.strip()}")
    return key


def _entries(path: Path) -> list[tuple[str, str]]:
    """Returns the hash and the name of each key; empty lines are none."""
    found = []
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        entry = LINE.fullmatch(line)
        if not entry:
            raise UserError(f"{path}, line {number}: a key's line is its hash and its name; make keys with --new-key")
        found.append((entry[1], entry[2]))
    return found


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Access:
    """What every request has to pass that has something translated."""

    def __init__(
        self, keys: Keys | None = None, per_key: str = "", per_address: str = "", storage: str = "memory://"
    ) -> None:
        """Rates are written as "60/minute; 1000/day"; none is no limit. Raises UserError for what is no rate, and for a
        place to count in that is not known."""
        self.needs_key = keys is not None
        self._keys = keys
        self._per_key, self._per_address = _rates(per_key), _rates(per_address)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage(storage))

    def _storage(self, url: str) -> Any:
        """Returns where requests are counted."""
        self._pool, options = None, {}
        if url.startswith("redis"):
            try:
                from redis.asyncio import ConnectionPool
            except ModuleNotFoundError:
                raise UserError("counting in a Redis needs the package redis; pip install 'redis<8'") from None
            self._pool = ConnectionPool.from_url(url)
            options = {"implementation": "redispy", "connection_pool": self._pool}
        try:
            return storage_from_string(f"async+{url}", **options)  # pyright: ignore[reportArgumentType]
        except ConfigurationError:
            kind = url.partition(":")[0]
            raise UserError(f"cannot count requests in {kind}: give memory:// or redis://HOST:PORT") from None

    async def close(self) -> None:
        """Closes the connections to a Redis."""
        if self._pool is not None:
            await self._pool.aclose()

    async def admit(self, request: Request, given: dict[str, Any], texts: Any, without_key: int = 400) -> None:
        """Lets a request pass and counts its texts: as many as a list has, otherwise one.

        Raises Refused without a key where one is needed, with the status `without_key`; with a wrong key, and for too
        many texts.
        """
        count = max(1, len(texts)) if isinstance(texts, list) else 1
        await self._count(self._per_address, "address", _network(request), count)
        name = self.checked(request, given, without_key)
        if name is not None:
            await self._count(self._per_key, "key", name, count)

    def checked(self, request: Request, given: dict[str, Any], without_key: int = 400) -> str | None:
        """Returns the name of a request's key, None where none is needed; raises as `admit` does."""
        if self._keys is None:
            return None
        key = _key(request, given)
        if not key:
            raise Refused(without_key, "Please contact the server operator to get an API key")
        try:
            name = self._keys.name(key)
        except UserError:
            raise Refused(503, "the server cannot read its keys") from None
        if name is None:
            raise Refused(403, "Invalid API key")
        return name

    async def _count(self, rates: Sequence[RateLimitItem], kind: str, whose: str, count: int) -> None:
        for rate in rates:
            if not await self._limiter.hit(rate, kind, whose, cost=count):
                stats = await self._limiter.get_window_stats(rate, kind, whose)
                # From then on the window frees room for one text at a time.
                seconds = stats.reset_time - time.time() + count * rate.get_expiry() / rate.amount
                raise Refused(429, f"Slowdown: {rate}", max(1, math.ceil(seconds)))


def _rates(given: str) -> list[RateLimitItem]:
    if not given:
        return []
    try:
        rates = parse_many(given)
    except ValueError:
        rates = []
    if not rates or any(rate.amount < 1 for rate in rates):
        raise UserError(f"{given!r} is no rate; give one such as 60/minute, or several: '60/minute; 1000/day'")
    return sorted(rates, key=lambda rate: rate.get_expiry())


def _key(request: Request, given: dict[str, Any]) -> str:
    """Returns the key of a request, nothing where it has none."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme in ("DeepL-Auth-Key", "Bearer"):
        return credentials.strip()
    found = (given.get(name) or request.query_params.get(name) for name in FIELDS)
    return next((key for key in found if isinstance(key, str) and key), "")


def _network(request: Request) -> str:
    """Returns the address of a request's client: of IPv6 the first 64 bits, which are what one user has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # a Unix socket has none
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
