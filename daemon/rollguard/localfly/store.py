"""The image store: what was pushed, by tag and by digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollguard.localfly.images import Image


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name in its parts; a missing part is empty."""

    registry: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """``registry/repository[:tag][@sha256:…]`` in its parts. Anything may be asked; only the store knows."""
        name, _, digest = text.partition("@")
        registry, _, path = name.partition("/")
        repository, _, tag = path.partition(":")
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"


class ImageStore:
    """Images by what they may be asked for. A tag names the image pushed under it last."""

    def __init__(self) -> None:
        self._by_tag: dict[str, Image] = {}
        self._by_digest: dict[str, Image] = {}

    def push(self, image: Image) -> None:
        """Keep `image`; its tag moves to it."""
        self._by_tag[image.ref] = image
        self._by_digest[image.digest] = image

    def tag(self, ref: str, image: Image) -> None:
        """Let `ref` name `image` from now on."""
        self._by_tag[ref] = image

    def named(self, name: str) -> Image | None:
        """The image of a bare digest, or of whatever `resolve` takes."""
        return self._by_digest.get(name) or self.resolve(name)

    def prune(self, digest: str) -> None:
        """Forget an image, as registries do with unused ones."""
        self._by_digest.pop(digest, None)
        self._by_tag = {ref: image for ref, image in self._by_tag.items() if image.digest != digest}

    def resolve(self, text: str) -> Image | None:
        """The image that `tag`, `tag@digest` or `@digest` names now, or None. A digest beats its tag."""
        wanted = Reference.parse(text)
        if not wanted.digest:
            return self._by_tag.get(text)
        image = self._by_digest.get(wanted.digest)
        return image if image and Reference.parse(image.ref).name == wanted.name else None

    def all(self) -> Iterable[Image]:
        """Every stored image, in the order of its first push."""
        return self._by_digest.values()
