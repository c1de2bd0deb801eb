"""Topic templates: what every asset may publish and subscribe to, with ``{aid}`` for its own id.

Compiled once at load into the text before and after the id; filling one in is a concatenation. The
id is always a whole level and only ids that passed `authplugin.jose.identity` are filled in, so no
id can widen a template. Attributes of a token (``{site}``) are whole levels too, filled in once for
all grants that share their values.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from authplugin.topics.containment import overlaps
from authplugin.topics.grammar import MULTI, SINGLE, check_filter, is_reserved

PLACEHOLDER = "{aid}"
PUBLISH = ("assets/{aid}/telemetry/#", "assets/{aid}/events/#", "assets/{aid}/status")
SUBSCRIBE = ("assets/{aid}/commands/#",)


Attributes = tuple[tuple[str, str], ...]
"""Names and values."""


@dataclass(frozen=True, slots=True)
class Template:
    """One compiled template: the text before the asset id, and the text after it."""

    head: str
    tail: str

    def fill(self, asset_id: str) -> str:
        """The filter for one asset, whose id is known to be safe as a level."""
        return self.head + asset_id + self.tail

    def __str__(self) -> str:
        """The template as written."""
        return self.head + PLACEHOLDER + self.tail

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes it has."""
        return tuple(level[1:-1] for level in f"{self.head}{self.tail}".split("/") if level.startswith("{"))

    @property
    def widest(self) -> str:
        """A filter for every topic that it could ever stand for."""
        text = self.fill(SINGLE)
        for name in self.attributes:
            text = text.replace(f"{{{name}}}", SINGLE)
        return text

    def replace(self, attributes: Attributes) -> "Template":
        """The template with the attributes' values, which are known to be safe as levels."""
        head, tail = self.head, self.tail
        for name, value in attributes:
            head, tail = head.replace(f"{{{name}}}", value), tail.replace(f"{{{name}}}", value)
        return Template(head, tail)


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of one policy: what its assets may publish to, and subscribe within."""

    publish: tuple[Template, ...]
    subscribe: tuple[Template, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes that any of them has, in their order."""
        names = [name for template in (*self.publish, *self.subscribe) for name in template.attributes]
        return tuple(dict.fromkeys(names))

    def fill(self, attributes: Attributes) -> "Templates":
        """The templates for tokens with these attributes; the same object for the same values."""
        return _filled(self, attributes)

    def publish_filters(self, asset_id: str) -> tuple[str, ...]:
        """Topic filters the asset may publish to."""
        return tuple([template.head + asset_id + template.tail for template in self.publish])

    def subscribe_filters(self, asset_id: str) -> tuple[str, ...]:
        """Topic filters the asset may subscribe within and receive from."""
        return tuple([template.head + asset_id + template.tail for template in self.subscribe])


@lru_cache(maxsize=4096)
def _filled(templates: Templates, attributes: Attributes) -> Templates:
    return Templates(
        tuple(template.replace(attributes) for template in templates.publish),
        tuple(template.replace(attributes) for template in templates.subscribe),
    )


def compile_template(text: str, attributes: Collection[str] = ()) -> Template:
    """Compile one template.

    Args:
        text: a topic filter with ``{aid}`` as exactly one whole level and no wildcard before it.
        attributes: names that may stand between braces as well, each as a whole level.

    Raises:
        ValueError: it is no such filter; says what is wrong with it.
    """
    if text.split("/").count(PLACEHOLDER) != 1:
        raise ValueError("does not have {aid} as one whole level")
    head, _, tail = text.partition(PLACEHOLDER)
    allowed = {f"{{{name}}}" for name in attributes}
    plain = [level for level in f"{head}{tail}".split("/") if level not in allowed]
    if any("{" in level or "}" in level for level in plain):
        raise ValueError("has braces around something else than {aid} or an attribute of every issuer")
    check_filter(head + "aid" + tail)
    if is_reserved(text):
        raise ValueError("begins with $: such topics belong to the broker")
    if SINGLE in head or MULTI in head:
        raise ValueError("has a wildcard before {aid}, which would reach into other assets")
    return Template(head, tail)


def check_apart(templates: Templates) -> None:
    """Check that no asset's id can be another template's word.

    Raises:
        ValueError: two templates have the id in different levels and meet, so that an asset with
            an odd id could reach into another's topics.
    """
    everything = (*templates.publish, *templates.subscribe)
    for position, one in enumerate(everything):
        for other in everything[position + 1 :]:
            if one.head.count("/") != other.head.count("/") and overlaps(one.widest, other.widest):
                raise ValueError(f"{one} and {other} meet: one asset's id could be the other's word")
