"""What each reason means, and what a person changes so that it goes away."""

from collections.abc import Mapping
from typing import NamedTuple

from authplugin.errors import Reason


class Advice(NamedTuple):
    """What a reason means, and what to do about it."""

    meaning: str
    remedy: str


ADVICE: Mapping[Reason, Advice] = {
    Reason.TOO_LONG: Advice(
        "The token has more than 8,192 bytes.", "Issue fewer attributes and permissions in the token."
    ),
    Reason.MALFORMED: Advice(
        "There is no password, or it is not three canonical base64url parts.",
        "Send the asset token, unchanged and without white space, as MQTT password.",
    ),
    Reason.ALG_NOT_ALLOWED: Advice(
        "The token's `alg` is not one that its issuer signs with, or not its key's.",
        "Look for an attack; else list the algorithm in the issuer's `algorithms`.",
    ),
    Reason.HEADER_NOT_ALLOWED: Advice(
        "The header brings a key, a rule or a type that a token may not bring.",
        "Look for an attack; asset tokens have `alg`, `kid` and `typ` only, `typ` as in `token_types`.",
    ),
    Reason.KID_INVALID: Advice(
        "`kid` is missing or no plain name of a key.", "Look for an attack; asset tokens name their key."
    ),
    Reason.ISSUER_UNKNOWN: Advice(
        "`iss` is not a configured issuer, letter by letter.",
        "Add the issuer, or use a token of one that is known.",
    ),
    Reason.KEY_UNKNOWN: Advice(
        "The issuer's key set has no usable key of that `kid`.",
        "After a rotation wait for the next fetch; else see why the key is left out.",
    ),
    Reason.KEYS_STALE: Advice(
        "No key set of the issuer is recent enough to trust.",
        "See why it cannot be fetched: network, certificate, address, file.",
    ),
    Reason.SIGNATURE_INVALID: Advice(
        "The signature does not hold under the issuer's key.",
        "Look for an attack or for a token cut on its way.",
    ),
    Reason.CLAIMS_MALFORMED: Advice(
        "A claim has a wrong form or two readings, an attribute is no topic level, or `cnf` is not readable.",
        "Have the issuer write claims as the protocol says.",
    ),
    Reason.EXP_MISSING: Advice("The token would never end.", "Have the issuer set a validity."),
    Reason.EXPIRED: Advice(
        "`exp` and the leeway have passed, or the token is older than allowed.",
        "Get a new token before the old one ends; check both clocks.",
    ),
    Reason.NOT_YET_VALID: Advice("`nbf` is ahead by more than the leeway.", "Check both clocks."),
    Reason.AUDIENCE_MISMATCH: Advice(
        "No audience of the token is one of the gate's.",
        "Set the same audience in the issuer's application and in `audiences`.",
    ),
    Reason.NOT_ASSET_TOKEN: Advice(
        "The same key signed another kind of token: an ID or access token, or one without a required claim.",
        "Exchange it for an asset token; of other issuers see `required_claims` and `allowed_claims`.",
    ),
    Reason.ASSET_MISSING: Advice(
        "The token names no asset.", "Register the device with an asset, or set `asset_claim`."
    ),
    Reason.DEVICE_MISSING: Advice(
        "The token names no device.", "Put `did` into the actor token, or set `device_claim`."
    ),
    Reason.ASSET_UNSAFE: Advice(
        "The asset id may not stand in a topic, or is a service account's name.",
        "Set the issuer's `id_form`; rename the service account.",
    ),
    Reason.ASSET_UNKNOWN: Advice(
        "The asset is not provisioned.", "Add it to the issuer's `provisioned_file`."
    ),
    Reason.FOREIGN_ASSET: Advice(
        "The issuer does not speak for this asset.", "Look for an attack; else widen the issuer's `assets`."
    ),
    Reason.REVOKED: Advice(
        "The token, device, asset, key or issuer is revoked.",
        "Register the device anew; `authplugin unrevoke` takes a revocation back.",
    ),
    Reason.QUARANTINED: Advice(
        "Two clients were seen with one identity, or an administrator says so.",
        "Find the copy, revoke it, then `authplugin release` the asset.",
    ),
    Reason.THROTTLED: Advice(
        "Too many bad attempts came from this address, too many exchanges were never finished, the device"
        " does little but subscribe, or its asset has too many clients.",
        "Wait; find who sends them. A device subscribes once when it connects, and keeps its client id.",
    ),
    Reason.CLIENT_ID_MISMATCH: Advice(
        "The MQTT client id is not the token's asset id, nor it, a colon and a suffix.",
        "Use the asset id as client id.",
    ),
    Reason.USERNAME_MISMATCH: Advice(
        "The MQTT user name is neither empty, the asset id nor the device id; or it is a service account's,"
        " from an address that is not among the account's.",
        "Leave the user name empty; or add to the account's `addresses`.",
    ),
    Reason.POSSESSION_REQUIRED: Advice(
        "The device must prove that it holds its key, and did not.",
        "Have it show a TLS client certificate or use method `ace`; or relax the issuer's `possession`.",
    ),
    Reason.POSSESSION_FAILED: Advice(
        "The proof is not by the key that the token is bound to, is late, or is not in its form.",
        "Look for a copied token; else see what the token's `cnf` names.",
    ),
    Reason.TOPIC_DENIED: Advice(
        "The topic is not one of the asset's.",
        "Publish and subscribe under `assets/<asset id>/` as configured.",
    ),
    Reason.TOPIC_ID_FORM: Advice(
        "The topic has the asset id in 15 characters.", "Write it in 18, as the detail shows."
    ),
    Reason.INTERNAL: Advice("The gate itself failed, and denied.", "Look into the broker's log; report it."),
}
