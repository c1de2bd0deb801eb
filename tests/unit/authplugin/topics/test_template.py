import pytest

from authplugin.topics.grammar import check_filter
from authplugin.topics.template import PUBLISH, SUBSCRIBE, Templates, check_apart, compile_template


def templates(publish: tuple[str, ...], subscribe: tuple[str, ...] = ()) -> Templates:
    return Templates(tuple(map(compile_template, publish)), tuple(map(compile_template, subscribe)))


def test_a_template_is_filled_with_the_asset_id() -> None:
    template = compile_template("assets/{aid}/telemetry/#")
    assert template.fill("02iAB00000CdEfGYAV") == "assets/02iAB00000CdEfGYAV/telemetry/#"
    assert str(template) == "assets/{aid}/telemetry/#"


def test_the_defaults_are_the_topics_of_the_protocol() -> None:
    compiled = templates(PUBLISH, SUBSCRIBE)
    check_apart(compiled)
    assert compiled.publish_filters("x") == ("assets/x/telemetry/#", "assets/x/events/#", "assets/x/status")
    assert compiled.subscribe_filters("x") == ("assets/x/commands/#",)
    for topic_filter in compiled.publish_filters("x"):
        check_filter(topic_filter)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("assets/telemetry", "one whole level"),
        ("assets/{aid}/{aid}", "one whole level"),
        ("assets/x{aid}/a", "one whole level"),
        ("assets/{aid}/{metric}", "braces"),
        ("assets/{aid}/{", "braces"),
        ("}/{aid}/a", "braces"),
        ("assets/{aid}/a#", "not alone"),
        ("assets/{aid}/\n", "control character"),
        ("$SYS/{aid}", "begins with"),
        ("+/{aid}/a", "wildcard before"),
    ],
)
def test_a_template_that_is_none_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_template(text)


def test_templates_where_an_odd_asset_id_reaches_into_anothers_topics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"assets/\{aid\}/status and assets/all/\{aid\} meet"):
        check_apart(templates(("assets/{aid}/status",), ("assets/all/{aid}",)))


def test_templates_with_the_id_in_different_levels_may_stand_apart() -> None:
    check_apart(templates(("assets/{aid}/status", "fleet/north/{aid}"), ("assets/{aid}/#",)))


def test_attributes_are_filled_in_once_for_all_grants_that_share_them() -> None:
    compiled = Templates(
        (compile_template("{site}/{aid}/{line}/#", {"site", "line"}), compile_template("a/{aid}")),
        (compile_template("{site}/{aid}/b", {"site"}),),
    )
    assert compiled.attributes == ("site", "line")
    assert [template.widest for template in compiled.publish] == ["+/+/+/#", "a/+"]
    filled = compiled.fill((("line", "7"), ("site", "north")))
    assert filled.publish_filters("x") == ("north/x/7/#", "a/x")
    assert filled.subscribe_filters("x") == ("north/x/b",)
    assert compiled.fill((("line", "7"), ("site", "north"))) is filled
    assert compiled.fill((("line", "8"), ("site", "north"))) is not filled


@pytest.mark.parametrize(
    "text", ["{other}/{aid}", "x{site}/{aid}", "{site}x/{aid}", "{site/{aid}", "site}/{aid}"]
)
def test_only_known_attributes_stand_in_a_template_and_only_as_whole_levels(text: str) -> None:
    with pytest.raises(ValueError, match="braces"):
        compile_template(text, {"site"})


def test_templates_that_meet_for_some_attribute_are_refused() -> None:
    site = {"site"}
    with pytest.raises(ValueError, match="meet"):
        check_apart(Templates((compile_template("{site}/a/{aid}", site), compile_template("a/{aid}/+")), ()))
    check_apart(Templates((compile_template("{site}/{aid}/a", site), compile_template("b/{aid}/+")), ()))


def test_a_template_may_be_the_id_alone() -> None:
    assert compile_template("{aid}").fill("x") == "x"


def test_templates_cannot_be_changed_once_compiled() -> None:
    compiled = templates(PUBLISH, SUBSCRIBE)
    for value, name in ((compiled, "publish"), (compiled.publish[0], "head")):
        with pytest.raises(AttributeError):
            setattr(value, name, ())
        assert not hasattr(value, "__dict__")
