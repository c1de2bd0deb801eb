"""What a grant lets its client do with a topic: the last check of each publish and subscribe."""

from authplugin.errors import Reason
from authplugin.model import Action, Deny, Grant
from authplugin.policy import IssuerPolicy
from authplugin.topics.containment import contains
from authplugin.topics.grammar import check_filter, check_topic, unshare

_SHOWN = 256


def refuse_topic(grant: Grant, action: Action, topic: str, issuer: IssuerPolicy | None) -> Deny | None:
    """Why ``topic`` is not for ``grant``, None when it is.

    Args:
        grant: what the client came in with.
        action: what it wants.
        topic: a topic, or to subscribe a filter, which must lie within a granted one as a whole.
        issuer: the grant's; None when it is configured no longer.
    """
    try:
        if action is Action.SUBSCRIBE:
            topic = unshare(topic)
            check_filter(topic)
        else:
            check_topic(topic)
    except ValueError as error:
        return Deny(Reason.TOPIC_DENIED, f"the text {error}")
    granted = grant.publish if action is Action.PUBLISH else grant.subscribe
    # No template begins with $, so no topic of the broker's own is ever within one.
    if any(contains(topic_filter, topic) for topic_filter in granted):
        return None
    right = topic if issuer is None else _in_full(topic, grant.asset_id, issuer)
    if right != topic and any(contains(topic_filter, right) for topic_filter in granted):
        # A detail goes to log and audit: topics of 64 kB do not.
        shown = right if len(right) <= _SHOWN else right[:_SHOWN] + "…"
        return Deny(Reason.TOPIC_ID_FORM, f"write the asset id in 18 characters: {shown}")
    return Deny(Reason.TOPIC_DENIED, f"not one of the asset's topics to {action}")


def _in_full(topic: str, asset_id: str, issuer: IssuerPolicy) -> str:
    """The topic with the client's own asset id written in full where it stands in another form."""
    return "/".join(
        [asset_id if issuer.names_asset(level, asset_id) else level for level in topic.split("/")]
    )
