"""A broker with a gate that cannot stand does not start, and says what to change.

Long, because each test is one thing that may be wrong with the files of the same broker.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.build import Interpreter
from authplugin.cli import main
from authplugin.testing import TokenMint
from tests.support.certificates import certificate
from tests.support.links import Transport
from tests.support.mosquitto import Mosquitto, running, write_passwords
from tests.support.mqtt import Client
from tests.support.ports import free_port

from .conftest import SERVICE, SHORT, Files, connect_until_ready, write_gate

pytestmark = pytest.mark.needs("mosquitto", "cc")


@pytest.fixture
def ready(files: Files, mint: TokenMint) -> Files:
    """Files of a broker that would start."""
    keys = files.folder / "keys.json"
    keys.write_text(json.dumps(mint.jwks()))
    write_gate(files, mint, f'jwks_file = "{keys}"', free_port())
    return files


#: Newer brokers refuse half a TLS pair themselves, before any plugin is asked.
ITSELF = "Both certfile and keyfile must be provided"
#: And a plugin before the first listener where each listener has its own settings.
NO_LISTENER = "The 'plugin' option requires a listener to be defined first"


def refusal(files: Files, stanza: str) -> str:
    log = Mosquitto(files.folder, stanza).refuse_to_start()
    assert "authplugin: the broker does not start without its gate" in log
    return log


def test_it_starts_as_the_stanza_says(ready: Files, mint: TokenMint) -> None:
    with running(Mosquitto(ready.folder, ready.stanza())) as broker, broker.client(5) as client:
        broker.wait_for("authplugin: metrics at http://127.0.0.1:")
        assert client.connect(SHORT, "", mint.mint()) in {0, 0x87}


@pytest.mark.parametrize(
    ("key", "line", "says"),
    [
        ("acl_file", "", r"mosquitto.conf: acl_file: found no such line, expected acl_file FILE"),
        (
            "acl_file",
            "acl_file /nowhere/acl",
            r"mosquitto.conf:\d+: acl_file: found /nowhere/acl, expected a file",
        ),
        ("password_file", "", r"password_file: found no such line"),
        (
            "per_listener_settings",
            "per_listener_settings true",
            r"mosquitto.conf:\d+: per_listener_settings: found true",
        ),
        ("allow_anonymous", "allow_anonymous true", r"mosquitto.conf:\d+: allow_anonymous: found true"),
        ("plugin_opt_config_file", "", r"plugin_opt_config_file: found nothing"),
        (
            "plugin_opt_config_file",
            "plugin_opt_config_file /nowhere/gate.toml",
            r"/nowhere/gate.toml: the file: found No such",
        ),
        ("plugin_opt_libpython", "", r"plugin_opt_libpython: found nothing"),
        (
            "plugin_opt_libpython",
            "plugin_opt_libpython /nowhere/libpython.so",
            r"cannot load Python: /nowhere/libpython.so: .*No such file.*authplugin mosquitto build",
        ),
        (
            "plugin_opt_libpython",
            "plugin_opt_libpython libc.so.6",
            r"libc.so.6 has no Py_GetVersion: not a shared library of CPython",
        ),
        (
            "plugin_opt_python_home",
            "plugin_opt_python_home /nowhere",
            r"python_home: found /nowhere, expected a folder with lib/python3",
        ),
        (
            "plugin_opt_python_site",
            "plugin_opt_python_site /nowhere",
            r"python_site: found /nowhere, expected the site-packages",
        ),
        ("plugin_opt_python_site", "plugin_opt_sure yes", r"plugin_opt_sure: found an unknown option"),
    ],
)
def test_a_wrong_line_keeps_the_broker_from_starting(ready: Files, key: str, line: str, says: str) -> None:
    lines = [line if each.startswith(key + " ") else each for each in ready.stanza().splitlines()]
    log = Mosquitto(ready.folder, "\n".join(lines)).refuse_to_start()
    if key == "per_listener_settings" and NO_LISTENER in log:
        return
    assert "authplugin: the broker does not start without its gate" in log
    assert re.search(says, log), log


@pytest.mark.parametrize("line", ["use_identity_as_username true", "use_subject_as_username true"])
def test_settings_that_throw_the_token_away_keep_it_from_starting(ready: Files, line: str) -> None:
    broker = Mosquitto(ready.folder, ready.stanza())
    broker.file.write_text(broker.file.read_text() + line + "\n")
    assert "throws the token away" in broker.refuse_to_start()


def test_the_stanza_works_in_a_folder_that_the_broker_includes_as_debian_has_it(
    ready: Files, mint: TokenMint
) -> None:
    folder = ready.folder / "conf.d"
    folder.mkdir()
    (folder / "assetgate.conf").write_text(ready.stanza())
    broker = Mosquitto(ready.folder)
    text = broker.file.read_text()
    listener = text[text.index("listener ") :]
    debian = (
        f"pid_file {ready.folder}/pid\npersistence true\n"
        f"log_dest file {ready.folder}/log\ninclude_dir {ready.folder}/conf.d\n"
    )
    broker.file.write_text(text.replace(listener, debian))
    (folder / "listener.conf").write_text(listener)
    with running(broker):
        connect_until_ready(broker, SHORT, mint.mint()).close()
    (folder / "assetgate.conf").write_text(ready.stanza().replace("acl_file", "# acl_file"))
    assert "acl_file: found no such line" in broker.refuse_to_start()


def test_a_second_plugin_line_keeps_it_from_starting(ready: Files) -> None:
    plugin = [line for line in ready.stanza().splitlines() if line.startswith("plugin")]
    assert "this plugin is configured twice" in refusal(ready, ready.stanza() + "\n".join(plugin))


def test_a_listener_in_the_open_without_tls_keeps_it_from_starting_unless_allowed(ready: Files) -> None:
    broker = Mosquitto(ready.folder, ready.stanza())
    broker.file.write_text(broker.file.read_text() + f"listener {free_port()}\n")
    log = broker.refuse_to_start()
    assert "tokens are bearer passwords" in log
    ready.config.write_text(
        ready.config.read_text().replace("[mosquitto]", "[mosquitto]\nallow_plaintext = true")
    )
    with running(broker):
        broker.wait_for("allow_plaintext = true: on listeners without TLS")


@pytest.mark.parametrize(
    "line", ["max_connections 100", "bind_address 0.0.0.0", "socket_domain ipv4", "certfile /nowhere/c.pem"]
)
def test_a_line_that_opens_port_1883_to_everybody_keeps_it_from_starting(ready: Files, line: str) -> None:
    # Mosquitto opens its default listener for any of these when they stand before the first `listener`.
    key, _, value = line.partition(" ")
    log = Mosquitto(ready.folder, ready.stanza() + line).refuse_to_start()
    if key == "certfile" and ITSELF in log:
        return
    assert "authplugin: the broker does not start without its gate" in log
    assert re.search(rf"mosquitto.conf:\d+: {key}: found {value}, expected", log), log


def included(ready: Files, files: dict[str, str], head: str = "", tail: str = "") -> Mosquitto:
    """A broker that includes a folder of these files, with lines of its own before and after that."""
    folder = ready.folder / "conf.d"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return Mosquitto(ready.folder, f"{ready.stanza()}{head}include_dir {folder}\n{tail}")


@pytest.mark.parametrize("line", ["max_connections 100", "max_qos 1", "socket_domain ipv4"])
def test_a_listeners_setting_in_a_file_without_one_opens_port_1883_and_keeps_it_from_starting(
    ready: Files, line: str
) -> None:
    # The listener of the file before, or of the file that includes, is not the broker's any more.
    files = {"10.conf": f"listener {free_port()} 127.0.0.1\n", "20.conf": f"# limits\n{line}\n"}
    head = f"listener {free_port()} 127.0.0.1\n"
    log = included(ready, files, head).refuse_to_start()
    key, _, value = line.partition(" ")
    assert re.search(rf"conf.d/20.conf:2: {key}: found {value}, expected .* opens port 1883", log), log


def test_a_certificate_in_another_file_than_its_listener_is_no_tls(ready: Files) -> None:
    public, private = certificate(ready.folder)
    tls = f"certfile {public}\nkeyfile {private}\n"
    log = included(ready, {"10.conf": f"listener {free_port()}\n", "20.conf": tls}).refuse_to_start()
    assert re.search(r"conf.d/10.conf:1: listener: .* in the same file", log), log
    log = included(ready, {"10.conf": tls, "20.conf": ""}, f"listener {free_port()}\n").refuse_to_start()
    assert re.search(r"mosquitto.conf:\d+: listener: .* in the same file", log), log


def test_a_certificate_behind_an_include_dir_that_opens_a_listener_is_lost_and_keeps_it_from_starting(
    ready: Files,
) -> None:
    # Mosquitto moves its listeners when one is added, and writes what follows where they were before:
    # seen to leave this very listener without TLS in 2.0.11 and 2.1.2.
    public, private = certificate(ready.folder)
    files = {"10.conf": f"listener {free_port()} 127.0.0.1\n"}
    tls = f"certfile {public}\nkeyfile {private}\n"
    log = included(ready, files, f"listener {free_port()}\n", tls).refuse_to_start()
    assert re.search(r"mosquitto.conf:\d+: certfile: .* forgets the one before it", log), log


def test_what_is_a_listeners_in_one_version_and_the_defaults_in_the_next_keeps_it_from_starting(
    ready: Files,
) -> None:
    public, private = certificate(ready.folder)
    lines = f"listener {free_port()}\nbind_address 127.0.0.1\ncertfile {public}\nkeyfile {private}\n"
    log = refusal(ready, ready.stanza() + lines)
    assert re.search(r"mosquitto.conf:\d+: listener: .* before any other listener, port or", log), log


def test_listeners_with_their_certificates_in_the_same_file_start_wherever_that_is(
    ready: Files, mint: TokenMint
) -> None:
    public, private = certificate(ready.folder)
    tls = f"certfile {public}\nkeyfile {private}\n"
    ports = [free_port(), free_port(), free_port()]
    own = [f"listener {port} 127.0.0.1\n{tls}" for port in ports]
    broker = included(ready, {"10.conf": own[0], "20.conf": own[1], "30.conf": "# none\n"}, own[2])
    with running(broker):
        connect_until_ready(broker, SHORT, mint.mint()).close()
        for port in ports:
            with Client(port, version=5, transport=Transport.TLS) as client:
                assert client.connect(SHORT, "", mint.mint()) == 0
    # A file that opens none moves none.
    broker = included(ready, {"10.conf": "# none\n", "20.conf": ""}, f"listener {ports[0]} 127.0.0.1\n", tls)
    with running(broker):
        connect_until_ready(broker, SHORT, mint.mint()).close()
        with Client(ports[0], version=5, transport=Transport.TLS) as client:
            assert client.connect(SHORT, "", mint.mint()) == 0


def test_check_config_names_all_that_keeps_the_broker_from_starting(
    ready: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = included(ready, {"10.conf": "listener 18861\n", "20.conf": "max_qos 1\nallow_anonymous true\n"})
    ready.acl.write_text(ready.acl.read_text() + "topic readwrite #\n")
    ready.passwords.write_text("")
    assert main(["check-config", str(ready.config), "--broker-config", str(broker.file)]) == 1
    said = capsys.readouterr().err.splitlines()
    places = [
        *("conf.d/20.conf:2: allow_anonymous", r"mosquitto.conf:\d+: password_file", "10.conf:1: listener"),
        *("20.conf:1: max_qos", r"acl:\d+: acl_file"),
    ]
    for place, line in zip(places, said, strict=True):
        assert re.search(place, line), said
    # What the broker says is the first of them.
    assert said[0] in broker.refuse_to_start()
    for name in ("10.conf", "20.conf"):
        (ready.folder / "conf.d" / name).write_text("")
    config = ready.config.read_text()
    ready.config.write_text(config.replace("[mosquitto]", '[mosquitto]\nconfig_file = "mosquitto.conf"'))
    assert main(["check-config", str(ready.config)]) == 1
    assert "password_file: found" in capsys.readouterr().err
    write_passwords(ready.passwords, [(SERVICE, "correct horse")])
    ready.acl.write_text(ready.acl.read_text().replace("topic readwrite #\n", ""))
    assert main(["check-config", str(ready.config)]) == 0
    done = capsys.readouterr()
    assert (done.err, f"broker   {broker.file}" in done.out) == ("", True)
    with running(broker):
        broker.wait_for("authplugin: metrics at")


def test_a_pre_shared_key_is_no_tls_by_websocket(ready: Files) -> None:
    # 2.0.11 answers plain HTTP there.
    broker = Mosquitto(ready.folder, ready.stanza())
    lines = f"listener {free_port()}\nprotocol websockets\npsk_hint h\npsk_file {ready.passwords}\n"
    broker.file.write_text(broker.file.read_text() + lines)
    assert "tokens are bearer passwords" in broker.refuse_to_start()


def test_a_certificate_without_its_key_is_no_tls(ready: Files) -> None:
    broker = Mosquitto(ready.folder, ready.stanza())
    broker.file.write_text(broker.file.read_text() + f"listener {free_port()}\ncertfile {ready.acl}\n")
    log = broker.refuse_to_start()
    assert "tokens are bearer passwords" in log or ITSELF in log


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[[issuers]]", "[[issuer]]", "gate.toml"),
        ("audiences", "audience", r"gate.toml:\d+: issuers\[0\].audience"),
        ("[metrics]", "[metrics", "gate.toml"),
        (
            'subscribe = ["assets/#"',
            'publish2 = ["assets/#"',
            r"gate.toml:\d+: service_accounts\[0\].publish2",
        ),
    ],
)
def test_a_bad_gate_configuration_keeps_it_from_starting(ready: Files, old: str, new: str, says: str) -> None:
    ready.config.write_text(ready.config.read_text().replace(old, new))
    log = refusal(ready, ready.stanza())
    assert re.search(says, log), log


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text + "topic readwrite #\n", "found topic readwrite #, expected the end"),
        (lambda text: text + "pattern read #\n", "found pattern read #"),
        (
            lambda text: text.replace(
                "pattern write assets/%u/telemetry/#", "pattern write assets/+/telemetry/#"
            ),
            r"acl:\d+: acl_file",
        ),
        (lambda text: text.replace("topic deny", "# topic deny"), "expected topic deny"),
        (lambda _: "", "found the end of the file, expected pattern write"),
    ],
)
def test_an_acl_file_that_says_anything_else_keeps_it_from_starting(
    ready: Files, change: Callable[[str], str], says: str
) -> None:
    ready.acl.write_text(change(ready.acl.read_text()))
    log = refusal(ready, ready.stanza())
    assert re.search(says, log), log


def test_a_gate_with_a_hundred_thousand_asset_ids_starts(ready: Files) -> None:
    ids = ", ".join(f'"02iAB{number:010}"' for number in range(100_000))
    text = ready.config.read_text().replace("audiences =", f"assets = {{exact = [{ids}]}}\naudiences =")
    ready.config.write_text(text)
    with running(Mosquitto(ready.folder, ready.stanza())) as broker:
        broker.wait_for("authplugin: metrics at")


def test_files_that_anybody_may_write_keep_it_from_starting_and_check_config_names_them(
    ready: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (ready.config, ready.acl):
        file.chmod(0o666)
        log = refusal(ready, ready.stanza())
        assert re.search(rf"{file}: [\w. ]+: found a file that anyone may write", log), log
        assert main(["check-config", str(ready.config)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"{file}: the file: found a file that anyone may write, expected mode 0644")
        file.chmod(0o644)


def test_a_service_account_that_the_password_file_lacks_keeps_it_from_starting(ready: Files) -> None:
    ready.passwords.write_text("somebody:$7$101$x\n")
    assert f"a line for service account {SERVICE}" in refusal(ready, ready.stanza())


def test_the_interpreter_hears_neither_environment_nor_current_directory(
    ready: Files, mint: TokenMint, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("authplugin", "jwt", "msgspec", "sitecustomize", "usercustomize", "site", "encodings"):
        (evil / f"{name}.py").write_text("raise SystemExit('taken over')\n")
    environment = {
        "PYTHONPATH": str(evil),
        "PYTHONHOME": str(evil),
        "PYTHONSTARTUP": str(evil / "site.py"),
        "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(evil),
        "PATH": f"{evil}:/usr/sbin:/usr/bin:/bin",
        "VIRTUAL_ENV": str(evil),
    }
    broker = Mosquitto(ready.folder, ready.stanza(), environment=environment)
    with running(broker):
        connect_until_ready(broker, SHORT, mint.mint()).close()


def test_the_brokers_own_environment_is_whole_afterwards_also_when_another_library_had_added_to_it(
    ready: Files, tmp_path: Path
) -> None:
    source, library = tmp_path / "adds.c", tmp_path / "adds.so"
    source.write_text("""
        #include <stdio.h>
        #include <stdlib.h>
        __attribute__((constructor)) static void before(void) { setenv("ADDED", "yes", 1); }
        __attribute__((destructor)) static void after(void) {
            const char *home = getenv("PYTHONHOME"), *added = getenv("ADDED");
            fprintf(stderr, "added %s, home %s\\n", added ? added : "gone", home ? home : "gone");
        }
    """)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    environment = {"LD_PRELOAD": str(library), "PYTHONHOME": "/the/brokers/own"}
    with running(Mosquitto(ready.folder, ready.stanza(), environment=environment)) as broker:
        broker.wait_for("authplugin: metrics at")
    broker.wait_for("added yes, home /the/brokers/own")


def test_the_cli_builds_a_plugin_and_prints_a_stanza_that_works(ready: Files, mint: TokenMint) -> None:
    ready.acl.unlink()
    output = ready.folder / "built" / "gate.so"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "authplugin",
            "mosquitto",
            "build",
            "-o",
            str(output),
            "--config",
            str(ready.config),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"wrote {ready.acl}" in done.stderr
    broker = Mosquitto(ready.folder, done.stdout)
    with running(broker):
        connect_until_ready(broker, SHORT, mint.mint()).close()


def test_the_plugin_needs_no_libpython_of_its_own(plugin: Path) -> None:
    needed = subprocess.run(["ldd", str(plugin)], capture_output=True, text=True, check=True).stdout
    assert "python" not in needed


def test_an_interpreter_that_is_not_there_is_named(ready: Files) -> None:
    gone = Interpreter(Path("/nowhere/libpython3.99.so.1.0"), Path("/nowhere"), Path("/nowhere"))
    log = refusal(ready, Files(ready.folder, ready.plugin, gone).stanza())
    assert "cannot load Python: /nowhere/libpython3.99.so.1.0" in log
