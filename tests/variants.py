"""The broker's tests on something else than the distribution's Mosquitto and the plugin as users build it.

``python -m tests.variants 2.1``: on the distribution's Mosquitto and on the one that deploy/mosquitto.sh
built, both with one and the same plugin file: one binary serves every line.
``python -m tests.variants asan``: with the plugin compiled for AddressSanitizer and UBSan.
Whatever is added goes on to pytest.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from authplugin.brokers.mosquitto.build import build_plugin

NEWER = Path("build/mosquitto-2.1.2/mosquitto")
SHIM = Path("authplugin/brokers/mosquitto/shim.c")
SUITE = "tests/integration/mosquitto"
_LEAKS = Path(__file__).with_name("leaks.supp")
# No optimisation hides an access, and no error goes on to be overlooked.
_SANITIZE = (
    *("-g", "-O1", "-fPIC", "-shared", "-std=gnu11", "-fvisibility=hidden", "-fno-omit-frame-pointer"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-Wl,-z,nodelete"),
)
_EXIT_CODE = 86


def build_sanitized(output: Path) -> None:
    """Compile the shim with both sanitizers; their libraries come with gcc."""
    subprocess.run(["cc", *_SANITIZE, "-o", str(output), str(SHIM), "-ldl"], check=True)


def sanitizers(reports: Path) -> dict[str, str]:
    """What the broker's process needs to load such a shim; what is found is written into ``reports``."""
    libraries = [
        subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        "LD_PRELOAD": ":".join(done.stdout.strip() for done in libraries),
        "ASAN_OPTIONS": f"detect_leaks=1:log_path={reports / 'asan'}:exitcode={_EXIT_CODE}",
        "LSAN_OPTIONS": f"suppressions={_LEAKS.absolute()}:print_suppressions=0",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={reports / 'ubsan'}",
    }


def run_suite(words: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run pytest over the suite with ``variables`` on top of this environment; its exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", SUITE, *words]
    return subprocess.run(command, env=os.environ | variables, check=False).returncode


def run_on_both(words: Sequence[str]) -> int:
    """One plugin file on both lines of Mosquitto."""
    with tempfile.TemporaryDirectory(prefix="assetgate-") as folder:
        plugin = Path(folder) / "authplugin.so"
        build_plugin(plugin)
        variables = {"ASSETGATE_TEST_PLUGIN": str(plugin)}
        print("on the distribution's Mosquitto:", flush=True)  # noqa: T201 - a command line program
        older = run_suite(words, variables)
        print(f"on {NEWER}, the same plugin file:", flush=True)  # noqa: T201 - the same
        newer = run_suite(words, variables | {"ASSETGATE_TEST_MOSQUITTO": str(NEWER.absolute())})
    return older or newer


def run_sanitized(words: Sequence[str]) -> int:
    """The suite under the sanitizers; any report fails it, whatever the tests say."""
    with tempfile.TemporaryDirectory(prefix="assetgate-") as folder:
        plugin = Path(folder) / "authplugin.so"
        reports = Path(folder) / "reports"
        reports.mkdir()
        build_sanitized(plugin)
        environment = "\n".join(f"{name}={value}" for name, value in sanitizers(reports).items())
        # These measure, and what they would measure here is the sanitizer: it is slow, and keeps what is
        # freed for a while. What is never freed it reports itself.
        left_out = ("test_bench.py", "test_certificate.py::test_certificates_leave_no_memory_behind")
        code = run_suite(
            [*(word for name in left_out for word in ("--deselect", f"{SUITE}/{name}")), *words],
            {"ASSETGATE_TEST_PLUGIN": str(plugin), "ASSETGATE_TEST_ENVIRONMENT": environment},
        )
        found = sorted(reports.iterdir())
        for report in found[:3]:
            print(report.read_text())  # noqa: T201 - the same
        print(f"{len(found)} reports of the sanitizers")  # noqa: T201 - the same
    return code or bool(found)


def main() -> None:
    """Run one of them and exit with its code."""
    parser = argparse.ArgumentParser(prog="python -m tests.variants", description=__doc__)
    parser.add_argument("variant", choices=["2.1", "asan"])
    known, words = parser.parse_known_args()
    sys.exit(run_on_both(words) if known.variant == "2.1" else run_sanitized(words))


if __name__ == "__main__":
    main()
