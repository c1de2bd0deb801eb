"""What must hold in the broker's own configuration."""

from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.configuration import find_configuration, read_configuration
from authplugin.brokers.mosquitto.preflight import check_configuration
from authplugin.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "acl").write_text("")
    (tmp_path / "passwords").write_text("# made by hand\nbridge:$7$x\n")
    return tmp_path


def check(folder: Path, text: str, *, accounts: tuple[str, ...] = (), allow_plaintext: bool = False) -> None:
    file = folder / "mosquitto.conf"
    file.write_text(f"acl_file {folder}/acl\n{text}\n")
    check_configuration(read_configuration(file), service_accounts=accounts, allow_plaintext=allow_plaintext)


@pytest.mark.parametrize(
    "line", [b"mosquitto\0-c\0/a/b.conf\0", b"mosquitto\0-d\0--config-file\0/a/b.conf\0-v\0"]
)
def test_the_brokers_command_line_names_its_configuration(line: bytes) -> None:
    assert find_configuration(line) == Path("/a/b.conf")


@pytest.mark.parametrize("line", [b"", b"mosquitto\0", b"mosquitto\0-p\x001883\0"])
def test_a_broker_without_a_configuration_is_refused(line: bytes) -> None:
    with pytest.raises(ConfigurationError, match="one -c FILE"):
        find_configuration(line)


def test_a_broker_with_two_configurations_is_refused() -> None:
    # It reads both; whoever reads one of them alone has checked nothing.
    with pytest.raises(ConfigurationError, match="one -c FILE"):
        find_configuration(b"mosquitto\0-c\0/a.conf\0--config-file\0/b.conf\0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "per_listener_settings false",
        "allow_anonymous false",
        "listener 1883 127.0.0.1",
        "listener 1883 ::1",
        "listener 1883 localhost",
        "listener 1883  127.0.0.1 # for tests",
        "allow_anonymous false # never",
        "listener 0 /run/mosquitto.sock",
        "listener 8883\ncertfile c\nkeyfile k",
        "listener 8883\nkeyfile k\ncertfile c\nlistener 1883 127.0.0.1\nmax_connections 9",
        "listener 8884\npsk_hint h",
        "bind_address 127.0.0.1",
        "port 1883\nmax_connections 9\nbind_address localhost",
        "certfile c\nkeyfile k\nmax_connections 9",
    ],
)
def test_a_sound_configuration_passes(folder: Path, text: str) -> None:
    check(folder, text)


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("per_listener_settings true", "per_listener_settings", 2),
        ("\n# x\n  per_listener_settings 1", "per_listener_settings", 4),
        ("per_listener_settings maybe", "per_listener_settings", 2),
        ("allow_anonymous true\nallow_anonymous false", "allow_anonymous", 2),
        ("use_identity_as_username true", "use_identity_as_username", 2),
        ("acl_file /nowhere/acl", "acl_file", 2),
        ("listener 1883", "listener", 2),
        ("listener 1883 0.0.0.0", "listener", 2),
        ("listener 1883 #127.0.0.1", "listener", 2),
        ("listener 1883 broker.example.com", "listener", 2),
        ("port 1883", "port", 2),
        ("listener 1883 127.0.0.1\nlistener 1884", "listener", 3),
        ("listener 8883\ncertfile c\nkeyfile k\nlistener 1883", "listener", 5),
        # Without both files the broker speaks plain MQTT there.
        ("listener 8883\ncertfile c", "listener", 2),
        ("listener 8883\nkeyfile k\ncafile a", "listener", 2),
        ("listener 8883\ncertfile c\nlistener 1883 127.0.0.1\nkeyfile k", "listener", 2),
        ("listener 8884\nprotocol websockets\npsk_hint h", "listener", 2),
        ("listener 8884\npsk_hint h\nprotocol mqtt\nprotocol websockets", "listener", 2),
        # These open a listener for everybody on port 1883, without a line that says so.
        ("max_connections 9\nlistener 1884 127.0.0.1", "max_connections", 2),
        ("socket_domain ipv4", "socket_domain", 2),
        ("max_qos 1", "max_qos", 2),
        ("certfile c", "certfile", 2),
        ("use_username_as_clientid true", "use_username_as_clientid", 2),
        ("tls_engine_kpass_sha1 00", "tls_engine_kpass_sha1", 2),
        ("use_subject_as_username false", "use_subject_as_username", 2),
        # In 2.0 the TLS is the listener's, in 2.1 that of port 1883.
        ("listener 8883\nport 1883\ncertfile c\nkeyfile k", "listener", 2),
        ("bind_address 0.0.0.0", "bind_address", 2),
        ("listener 1884 127.0.0.1\nbind_address 0.0.0.0", "bind_address", 3),
        ("listener 8883\ncertfile c\nkeyfile k\nport 1883", "port", 5),
        # What the broker takes for a comment to the end of its line decides nothing.
        ("allow_anonymous true\n# x\x0callow_anonymous false\r# x", "allow_anonymous", 2),
    ],
)
def test_a_line_that_opens_a_door_is_named(folder: Path, text: str, key: str, line: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(folder, text)
    assert (caught.value.key, caught.value.line) == (key, line)


def test_plaintext_may_be_allowed(folder: Path) -> None:
    check(folder, "listener 1883", allow_plaintext=True)


def test_the_broker_ends_a_line_where_it_does_and_so_do_we(folder: Path) -> None:
    (folder / "passwords").write_text("bridge:$7$x\n")
    file = folder / "mosquitto.conf"
    file.write_text(f"acl_file {folder}/evil\n# for later:\racl_file {folder}/acl\n", newline="")
    line = read_configuration(file).last("acl_file")
    assert line is not None
    assert line.value == f"{folder}/evil"


def test_a_nul_at_which_the_broker_stops_reading_a_line_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="NUL") as caught:
        check(folder, f"acl_file {folder}/evil\0{folder}/acl")
    assert caught.value.line == 2


def test_each_service_account_must_be_in_the_password_file(folder: Path) -> None:
    check(folder, f"password_file {folder}/passwords", accounts=("bridge",))
    with pytest.raises(ConfigurationError, match="a line for service account probe"):
        check(folder, f"password_file {folder}/passwords", accounts=("bridge", "probe"))
    with pytest.raises(ConfigurationError, match="password_file: found no such line"):
        check(folder, "", accounts=("bridge",))


@pytest.mark.parametrize("line", ["bridge:correct horse", "bridge:", "bridge $7$x", "#bridge:$7$x"])
def test_an_account_whose_password_the_broker_would_pass_over_is_missing(folder: Path, line: str) -> None:
    (folder / "passwords").write_text(f"other:$7$x\n{line}\n")
    with pytest.raises(ConfigurationError, match="a line for service account bridge, hashed") as caught:
        check(folder, f"password_file {folder}/passwords", accounts=("bridge",))
    assert "correct horse" not in str(caught.value)


def test_included_files_count_by_name(folder: Path) -> None:
    included = folder / "conf.d"
    included.mkdir()
    (included / "b.conf").write_text("persistence true\n")
    (included / "A.conf").write_text("allow_anonymous true\n")
    (included / "c.txt").write_text("per_listener_settings true\n")
    with pytest.raises(ConfigurationError) as caught:
        check(folder, f"include_dir {included}")
    assert caught.value.file == str(included / "A.conf")


@pytest.mark.parametrize(
    ("main", "files", "found"),
    [
        ("listener 1 ::1\nINCLUDE", ("max_qos 1",), ("a.conf", 1, "max_qos")),
        ("INCLUDE", ("listener 1 ::1", "# b\nmount_point x/"), ("b.conf", 2, "mount_point")),
        ("INCLUDE", ("listener 1", "certfile c\nkeyfile k"), ("a.conf", 1, "listener")),
        ("INCLUDE\ncertfile c\nkeyfile k", ("listener 1",), ("a.conf", 1, "listener")),
        (
            "listener 1\nINCLUDE\ncertfile c\nkeyfile k",
            ("listener 2 ::1",),
            ("mosquitto.conf", 4, "certfile"),
        ),
        ("listener 1 ::1\nINCLUDE\ntls_version t", ("listener 2 ::1",), ("mosquitto.conf", 4, "tls_version")),
        # What moves the listeners of 2.1 alone.
        ("port 1\nINCLUDE\ncertfile c\nkeyfile k", ("listener 2 ::1",), ("mosquitto.conf", 4, "certfile")),
        ("listener 1\nINCLUDE\ncertfile c", ("bind_address ::1",), ("mosquitto.conf", 4, "certfile")),
        # The same folder twice is two files each time.
        ("INCLUDE\nINCLUDE", ("certfile c\nlistener 1 ::1\nkeyfile k",), ("a.conf", 1, "certfile")),
    ],
)
def test_a_listener_ends_with_its_file(
    folder: Path, main: str, files: tuple[str, ...], found: tuple[str, int, str]
) -> None:
    included = folder / "conf.d"
    included.mkdir()
    for name, text in zip("ab", files, strict=False):
        (included / f"{name}.conf").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        check(folder, main.replace("INCLUDE", f"include_dir {included}"))
    error = caught.value
    assert (Path(error.file).name, error.line, error.key) == found


@pytest.mark.parametrize(
    ("main", "text"),
    [
        ("listener 1\ncertfile c\nkeyfile k\nINCLUDE", "listener 2\ncertfile c\nkeyfile k"),
        ("listener 1\nINCLUDE\ncertfile c\nkeyfile k", "persistence true"),
        ("INCLUDE\nlistener 1\ncertfile c\nkeyfile k", "listener 2 ::1\nmax_qos 1"),
        ("listener 1 ::1\nINCLUDE\nlistener 3 ::1\nmax_qos 1", "listener 2 ::1"),
        ("bind_address ::1\nINCLUDE", "max_qos 1"),
    ],
)
def test_a_listener_whose_settings_are_in_its_file_passes(folder: Path, main: str, text: str) -> None:
    included = folder / "conf.d"
    included.mkdir()
    (included / "a.conf").write_text(text)
    check(folder, main.replace("INCLUDE", f"include_dir {included}"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_configuration(tmp_path / "mosquitto.conf")
