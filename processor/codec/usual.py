"""The shape of an asset's usual message: the very metrics of its first one.

Their series lie side by side, and a compiled pass (`processor.engine.intake`) reads such messages without a
look-up per metric.
"""

#: Shapes that are shared and read by the compiled pass; messages of others take the general road.
SHAPES = 1024


class Shape:
    """The names of one message's metrics.

    Attributes:
        names: the metrics, in the order of the first such message.
        places: of each its place among them.
        width: how many.
    """

    __slots__ = ("names", "places", "width")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.width = len(names)
        self.places = {name: place for place, name in enumerate(names)}

    def covers(self, names: tuple[str, ...]) -> bool:
        """Whether these are the same names, whatever their order."""
        return len(names) == self.width and self.places.keys() == set(names)
