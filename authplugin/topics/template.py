"""Topic templates: what every asset may publish and subscribe to, with ``{aid}`` for its own id.

Compiled once at load into the text before and after the id; filling one in is a concatenation. The
id is always a whole level and only ids that passed `authplugin.jose.identity` are filled in, so no
id can widen a template.
"""

from dataclasses import dataclass

from authplugin.topics.containment import overlaps
from authplugin.topics.grammar import MULTI, SINGLE, check_filter, is_reserved

PLACEHOLDER = "{aid}"
PUBLISH = ("assets/{aid}/telemetry/#", "assets/{aid}/events/#", "assets/{aid}/status")
SUBSCRIBE = ("assets/{aid}/commands/#",)


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


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of one policy: what its assets may publish to, and subscribe within."""

    publish: tuple[Template, ...]
    subscribe: tuple[Template, ...]

    def publish_filters(self, asset_id: str) -> tuple[str, ...]:
        """Topic filters the asset may publish to."""
        return tuple([template.head + asset_id + template.tail for template in self.publish])

    def subscribe_filters(self, asset_id: str) -> tuple[str, ...]:
        """Topic filters the asset may subscribe within and receive from."""
        return tuple([template.head + asset_id + template.tail for template in self.subscribe])


def compile_template(text: str) -> Template:
    """Compile one template.

    Args:
        text: a topic filter with ``{aid}`` as exactly one whole level and no wildcard before it.

    Raises:
        ValueError: it is no such filter; says what is wrong with it.
    """
    if text.split("/").count(PLACEHOLDER) != 1:
        raise ValueError("does not have {aid} as one whole level")
    head, _, tail = text.partition(PLACEHOLDER)
    if "{" in head + tail or "}" in head + tail:
        raise ValueError("has braces that are not {aid}")
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
            if one.head != other.head and overlaps(one.fill(SINGLE), other.fill(SINGLE)):
                raise ValueError(f"{one} and {other} meet: one asset's id could be the other's word")
