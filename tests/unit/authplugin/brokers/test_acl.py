"""The acl_file: exactly the templates and accounts, and nothing that Mosquitto reads in its own way."""

import pytest

from authplugin.brokers.mosquitto.acl import acl_rules, check_acl, is_written, write_acl
from authplugin.errors import ConfigurationError
from authplugin.policy import ServiceAccount
from authplugin.topics.template import PUBLISH, SUBSCRIBE, Templates, compile_template

TOPICS = Templates(tuple(map(compile_template, PUBLISH)), tuple(map(compile_template, SUBSCRIBE)))
ACCOUNTS = {
    "bridge": ServiceAccount(
        "bridge", ("assetgate/heartbeat",), ("assets/+/telemetry/#", "assetgate/heartbeat")
    )
}


def test_the_templates_become_patterns_and_an_account_its_own_section() -> None:
    assert acl_rules(TOPICS, ACCOUNTS) == [
        "pattern write assets/%u/telemetry/#",
        "pattern write assets/%u/events/#",
        "pattern write assets/%u/status",
        "pattern read assets/%u/commands/#",
        "user bridge",
        "topic deny assets/bridge/telemetry/#",
        "topic deny assets/bridge/events/#",
        "topic deny assets/bridge/status",
        "topic deny assets/bridge/commands/#",
        "topic write assetgate/heartbeat",
        "topic read assets/+/telemetry/#",
        "topic read assetgate/heartbeat",
    ]


def test_attributes_are_refused_for_the_file_cannot_say_them() -> None:
    topics = Templates((compile_template("assets/{aid}/{site}/#", {"site"}),), ())
    with pytest.raises(ValueError, match=r"assets/\{aid\}/\{site\}/#' has more than \{aid\} to fill in"):
        acl_rules(topics, {})


def test_what_is_written_is_what_is_checked() -> None:
    check_acl(write_acl(TOPICS, ACCOUNTS), "acl", acl_rules(TOPICS, ACCOUNTS))


def test_what_was_written_is_known_again_to_the_letter() -> None:
    text = write_acl(TOPICS, ACCOUNTS).encode()
    assert is_written(text)
    for changed in (
        text[1:],
        text[:-1],
        text + b"\n",
        text.replace(b"topic deny", b"#topic deny", 1),
        b"",
        b"# x\n",
    ):
        assert changed != text
        assert not is_written(changed)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("topic #\n", 20, "topic #"),
        ("\n  user   admin\n", 21, "user admin"),
    ],
)
def test_a_rule_more_is_found_with_its_line(text: str, line: int, found: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_acl(write_acl(TOPICS, ACCOUNTS) + text, "acl", acl_rules(TOPICS, ACCOUNTS))
    assert (caught.value.line, caught.value.found) == (line, found)


def test_a_rule_less_is_found() -> None:
    rules = acl_rules(TOPICS, ACCOUNTS)
    with pytest.raises(ConfigurationError, match="the end of the file"):
        check_acl("\n".join(rules[:-1]), "acl", rules)


def test_comments_and_blanks_do_not_matter() -> None:
    rules = acl_rules(TOPICS, {})
    check_acl("# by hand\n\n" + "\n\n".join(f"  {rule}  " for rule in rules), "acl", rules)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Mosquitto reads to the newline: all this is one comment, and the account has lost its denials.
        ("topic deny assets/bridge/status", "# x\rtopic deny assets/bridge/status"),
        ("topic deny assets/bridge/status", "# x\x0ctopic deny assets/bridge/status"),
        # Only ASCII blanks part words: this is another account.
        ("user bridge", "user bridge\N{NO-BREAK SPACE}"),
        # A comment begins its line; on any other Mosquitto stops reading the file.
        ("user bridge", "  # the bridge\nuser bridge"),
        ("user bridge", "\tuser bridge"),
    ],
)
def test_a_line_is_read_as_mosquitto_reads_it(old: str, new: str) -> None:
    text = write_acl(TOPICS, ACCOUNTS).replace(old, new)
    with pytest.raises(ConfigurationError):
        check_acl(text, "acl", acl_rules(TOPICS, ACCOUNTS))


@pytest.mark.parametrize("template", ["a/%c/{aid}/x", "{aid}/%u", "a  b/{aid}", " a/{aid}", "a/{aid}/x "])
def test_a_template_that_mosquitto_would_read_otherwise_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="acl_file"):
        acl_rules(Templates((compile_template(template),), ()), {})
