"""What may become wrong about a token that was verified: revocation, provisioning, quarantine.

Whoever was verified once is not verified again when one of these changes: only this is asked again,
and only once after a change. Quarantine is asked at every connect, for it ends by itself.
"""

from collections.abc import Mapping

from authplugin.clones import Clones
from authplugin.errors import Reason
from authplugin.model import Grant, GrantRefused
from authplugin.policy import IssuerPolicy
from authplugin.provisioned import Provisioned
from authplugin.revocation import NONE, Revocations


class Standing:
    """The compiled sets in force; each is swapped by one assignment.

    Attributes:
        revocations: what is revoked.
        provisioned: by issuer, the assets that exist, of issuers whose assets must.
        clones: knows who is quarantined.
    """

    def __init__(self, clones: Clones) -> None:
        self.revocations: Revocations = NONE
        self.provisioned: Mapping[str, Provisioned] = {}
        self.clones = clones

    def check(self, grant: Grant, issuer: IssuerPolicy) -> None:
        """Check what changes only when a set is swapped.

        Raises:
            GrantRefused: ``revoked asset_unknown``.
        """
        revoked = self.revocations.find(grant)
        if revoked is not None:
            raise GrantRefused(Reason.REVOKED, revoked, grant)
        if issuer.require_provisioned and grant.asset_id not in self.provisioned.get(grant.issuer, ()):
            raise GrantRefused(
                Reason.ASSET_UNKNOWN, "the asset is not in the issuer's provisioned_file", grant
            )

    def check_quarantine(self, grant: Grant) -> None:
        """Check what ends by itself.

        Raises:
            GrantRefused: ``quarantined``.
        """
        if self.clones.holds(grant.asset_id):
            raise GrantRefused(Reason.QUARANTINED, "the asset was seen from two places", grant)
