"""A mapping that notes which of its keys were asked for: what of a model file the engine uses shows by itself."""

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TypeVar

Content = TypeVar("Content")


class AskedFor(Mapping[str, Content]):
    """Another mapping, whose values are noted when they are taken by their keys.

    To look whether a key is there, or to go through all of them, counts for nothing.
    """

    def __init__(self, mapping: Mapping[str, Content]) -> None:
        self._mapping = mapping
        self._taken: set[str] = set()

    def __getitem__(self, key: str) -> Content:
        value = self._mapping[key]
        self._taken.add(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._mapping

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping)

    def __len__(self) -> int:
        return len(self._mapping)

    def items(self) -> ItemsView[str, Content]:
        """Returns all keys and values; not noted, as `Mapping` itself would."""
        return self._mapping.items()

    def values(self) -> ValuesView[Content]:
        """Returns all values; not noted either."""
        return self._mapping.values()

    def unasked(self) -> tuple[str, ...]:
        """Returns the keys that nobody has asked for, in the mapping's order."""
        return tuple(key for key in self._mapping if key not in self._taken)
