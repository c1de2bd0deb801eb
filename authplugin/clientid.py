"""What a client says beside its token, its MQTT client id and user name: they must mean the token's asset.

Brokers look sessions up by client id: were it free, any token could take over any session.
"""

from authplugin.errors import Reason
from authplugin.model import Connect, Grant, GrantRefused
from authplugin.policy import IssuerPolicy, Policy

MAX_CLIENT_ID = 256


_CLIENT_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:")


def check_client(connect: Connect, grant: Grant, issuer: IssuerPolicy, policy: Policy) -> None:
    """Check that the client's own words mean the token's asset.

    Raises:
        GrantRefused: ``client_id_mismatch username_mismatch``.
    """
    if not _fits_client_id(connect.client_id, grant, issuer, policy):
        detail = "the client id is not the asset id, nor it, a colon and a suffix"
        raise GrantRefused(Reason.CLIENT_ID_MISMATCH, detail, grant)
    username = connect.username
    if username and username != grant.device_id and not issuer.names_asset(username, grant.asset_id):
        detail = "the user name is neither the asset id nor the device id"
        raise GrantRefused(Reason.USERNAME_MISMATCH, detail, grant)


def _fits_client_id(client_id: str, grant: Grant, issuer: IssuerPolicy, policy: Policy) -> bool:
    """Whether a client id is the asset's own, so that no session of another asset can be taken over."""
    if len(client_id) > MAX_CLIENT_ID or not _CLIENT_ID.issuperset(client_id):
        return False
    name, colon, suffix = client_id.partition(":")
    if issuer.names_asset(name, grant.asset_id):
        return bool(suffix) or not colon
    # A device chooses its own id: even where it may be a client id, it must not be another asset's, nor
    # a program's, for the session that the broker keeps would be taken over.
    taken = policy.is_program(name) or policy.could_be_asset(name)
    return issuer.did_as_client_id and client_id == grant.device_id and not taken
