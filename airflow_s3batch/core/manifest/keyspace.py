"""`KeySpace`: lists a bucket in parallel, whatever its keys look like.

Pages of a listing follow one another, and S3 has no way to ask for the middle of it. So the space of all keys is
divided while it is listed: whenever a worker is idle, one that has just got a page looks where the rest of its span can
be cut, keeps the part up to the first cut, and leaves the others to the idle. A cut is a text, at or before which
keys belong to the left, and after it to the right: every key is in exactly one span, however well the cuts are chosen.

Two things tell where to cut, by small requests:

- the groups that follow at each level of the last key's path (``Delimiter="/"``), for keys in folders;
- where there are none, guesses from the page: where its keys agree, a character further on, of those that keys have
  (``part-00417`` → ``part-03``, ``part-5``). The first key after a guess (``MaxKeys=1``) says whether there is any.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from airflow_s3batch.core.errors import ManifestError, printable

__all__ = ["KeySpace", "Page", "Source", "guesses"]

_AT_ONCE = 32
"""Spans that are listed at once: at 30 ms a page more than one processor can read."""
_GROUP = "/"
_LEVELS_MOST = 4
"""Levels of a path that are looked at, the last ones."""
_PICKED = 3
"""Guesses for one place in the key."""
_PLACES_MOST = 8
"""Places in the key that are guessed at, the last ones."""
_BETWEEN = "-_/=.:, "
"""What stands between the parts of a key: rarely does another one follow in its place."""
_LETTERS = 3
"""Characters after the common beginning of a page's keys that tell what characters keys are made of."""


class Page(NamedTuple):
    """A page of a listing."""

    items: list[dict[str, Any]]
    """In the order of their ``Key``."""
    following: Mapping[str, str] | None
    """How to ask for the next page, None when there is none."""


class Source(Protocol):
    """A bucket's listing."""

    uri: str
    """The bucket, for errors."""
    repeats: bool
    """Whether several items can have the same key (versions)."""

    def after(self, key: str) -> Mapping[str, str]:
        """How to ask for the page that begins after this key."""
        ...

    async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
        """A page of what begins with the prefix."""
        ...

    async def first(self, prefix: str, key: str) -> str | None:
        """The first key after this one that begins with the prefix."""
        ...

    async def groups(self, prefix: str, key: str) -> list[str]:
        """The first thousand of the groups (up to the next slash) after the key, of what begins with the prefix."""
        ...


class _Span(NamedTuple):
    """The keys that begin with `prefix`, are after `after`, and at or before `until`."""

    prefix: str
    after: str
    until: str | None

    def has(self, key: str) -> bool:
        return self.after < key and (self.until is None or key <= self.until)


class KeySpace:
    """One listing of one bucket.

    Args:
        source: the bucket.
        at_once: most pages that are asked for at once.
    """

    def __init__(self, source: Source, *, at_once: int = _AT_ONCE) -> None:
        self._source = source
        self._at_once = at_once
        self._waiting: deque[_Span] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None
        self._found: asyncio.Queue[list[dict[str, Any]] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(2 * at_once)

    async def pages(self, prefixes: Sequence[str] = ()) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Every item whose key begins with one of the prefixes (all, if there are none), once, in lists in no order.

        Memory holds some pages a worker, however many keys there are.

        Raises:
            S3Error: the bucket can't be listed.
            ManifestError: there is no such bucket, or it is not listed in the order of its keys.
        """
        self._waiting.extend(_Span(prefix, "", None) for prefix in _apart(prefixes or [""]))
        self._fill()
        try:
            while (items := await self._found.get()) is not None:
                yield items
                self._room.release()
            if self._failed is not None:
                raise self._failed
        finally:
            self._waiting.clear()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            task = asyncio.create_task(self._list(self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed = self._failed or error
            self._waiting.clear()
        self._fill()
        if self._failed is not None or not self._running:
            self._found.put_nowait(None)

    async def _list(self, span: _Span) -> None:
        start, last, unsplit, patience = self._source.after(span.after), span.after, 0, 1
        while True:
            page = await self._source.page(span.prefix, start)
            keys = [item["Key"] for item in page.items]
            self._check_order(keys, last)
            mine = page.items if not keys or (span.has(keys[0]) and span.has(keys[-1])) else _within(page.items, span)
            if mine:
                await self._room.acquire()
                self._found.put_nowait(mine)
            last = keys[-1] if keys else last
            if page.following is None or self._is_past(span, last):
                return
            start, unsplit = page.following, unsplit + 1
            if keys and self._idle > 0 and unsplit >= patience:
                kept = await self._kept(span, keys)
                patience = 2 * patience if kept is span else 1  # where nothing can be cut, it rarely can soon
                span, unsplit = kept, 0

    @property
    def _idle(self) -> int:
        return self._at_once - len(self._running) - len(self._waiting)

    async def _kept(self, span: _Span, keys: Sequence[str]) -> _Span:
        """What is left of a span once the idle have got their shares of it; the same one if it can't be cut."""
        cuts = await self._cuts(span, keys, max(1, self._idle))
        if not cuts:
            return span
        ends = [*cuts[1:], span.until]
        self._waiting.extend(_Span(span.prefix, after, until) for after, until in zip(cuts, ends, strict=True))
        self._fill()
        return span._replace(until=cuts[0])

    def _is_past(self, span: _Span, last: str) -> bool:
        return span.until is not None and (last > span.until or (last == span.until and not self._source.repeats))

    def _check_order(self, keys: list[str], before: str) -> None:
        if keys and (keys[0] < before or sorted(keys) != keys):
            near = printable(repr(keys[0]))
            wrong = f"keys are not listed in their order (near {near}), so that this bucket can't be listed in parts"
            raise ManifestError(self._source.uri, wrong)

    async def _cuts(self, span: _Span, keys: Sequence[str], most: int) -> list[str]:
        """Where the rest of a span can be cut so that there are keys in every part: at most so many cuts, in order."""
        cuts = await self._groups(span, keys) or await self._guessed(span, keys)
        wanted = sorted(cut for cut in cuts if cut != span.until)
        return [wanted[len(wanted) * at // most] for at in range(most)] if len(wanted) > most else wanted

    async def _groups(self, span: _Span, keys: Sequence[str]) -> set[str]:
        """Groups of the path so far apart that there is a page or two between them, if they are like the page's."""
        folders = list(_folders(keys, span.until, span.prefix))[-_LEVELS_MOST:]
        found = await asyncio.gather(*(self._source.groups(folder, keys[-1]) for folder, _ in folders))
        return {
            group
            for (_, held), groups in zip(folders, found, strict=True)
            for group in groups[:: 2 * held if held > 1 else 1]
            if group > keys[-1] and span.has(group)
        }

    async def _guessed(self, span: _Span, keys: Sequence[str]) -> set[str]:
        """Guesses that keys follow; of those with the same first key after them, the last one."""
        guessed = guesses(keys, span.until, len(span.prefix))
        first = await asyncio.gather(*(self._source.first(span.prefix, guess) for guess in guessed))
        following = dict(zip(first, guessed, strict=True))
        return {guess for key, guess in following.items() if key is not None and span.has(key)}


def guesses(keys: Sequence[str], until: str | None, begin: int) -> list[str]:
    """Texts after a page's last key that others may well follow, in order; before `until`, alike up to `begin`."""
    last = keys[-1]
    begin = max(begin, _alike(last, until))
    agreed = _alike(keys[0], last)
    letters = sorted({letter for key in keys for letter in key[agreed : agreed + _LETTERS] if letter.isprintable()})
    places: list[list[str]] = []
    # What differs within a page is a page's work or less: cut where the page agrees, if there is such a place.
    for at in range(begin, min(len(last), max(agreed, begin + 1))):
        higher = [letter for letter in letters if letter > last[at] not in _BETWEEN]
        picked = dict.fromkeys(higher[len(higher) * part // _PICKED] for part in range(_PICKED) if higher)
        places.append([last[:at] + letter for letter in picked])
    guessed = sorted(guess for place in [place for place in places if place][-_PLACES_MOST:] for guess in place)
    return [guess for guess in guessed if guess > last and (until is None or guess < until)]


def _folders(keys: Sequence[str], until: str | None, prefix: str) -> Iterator[tuple[str, int]]:
    """The folders of a page's last key in which other folders may follow, and how many of them a page holds."""
    last, begin = keys[-1], len(prefix)
    same = _alike(last, until)
    while (end := last.find(_GROUP, begin) + 1) > 0:
        if end > same:
            folder = last[:begin]
            yield folder, len({key[: key.find(_GROUP, begin) + 1] for key in keys if key.startswith(folder)})
        begin = end


def _alike(one: str, other: str | None) -> int:
    """How many characters two texts begin with alike; 0 if there is no other."""
    for at, (left, right) in enumerate(zip(one, other or "", strict=False)):
        if left != right:
            return at
    return min(len(one), len(other or ""))


def _within(items: list[dict[str, Any]], span: _Span) -> list[dict[str, Any]]:
    return [item for item in items if span.has(item["Key"])]


def _apart(prefixes: Iterable[str]) -> list[str]:
    """The prefixes without those that begin with another one: no key is listed twice."""
    apart: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not apart or not prefix.startswith(apart[-1]):
            apart.append(prefix)
    return apart
