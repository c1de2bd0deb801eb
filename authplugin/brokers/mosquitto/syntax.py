"""Has the broker itself read a configuration, to its last line and no further.

No Mosquitto of ours checks a file without running it, and a misspelt key keeps it from starting. So
it gets the lines in the order in which it will read them, and behind them one that it cannot know:
what it stumbles over is that line or a mistake, and it ends before it opens anything.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from authplugin.brokers.mosquitto.configuration import BrokerConfiguration
from authplugin.errors import ConfigurationError, InstallError

SECONDS = 15.0
"""Longest time that the broker may take."""

_END = "assetgate_has_read_all_before_this"
_PLACE = re.compile(r"Error found at .*:([0-9]+)\.")
_WHY = re.compile(r"Error: (?!found at )(.*)")


def check_syntax(mosquitto: Path, broker: BrokerConfiguration) -> None:
    """Check that the broker can read every line of a configuration.

    Args:
        mosquitto: its program.
        broker: the configuration, with what it includes.

    Raises:
        ConfigurationError: a line that it cannot read, with what it says about it.
        InstallError: it neither reads the lines nor says where it stopped.
    """
    text = "".join(f"{line.key} {line.value}\n" for line in broker.lines) + f"{_END} 1\n"
    said = _read(mosquitto, text)
    if _END in said:
        return
    places, reasons = _PLACE.findall(said), _WHY.findall(said)
    number = int(places[-1]) if places else 0
    if not 0 < number <= len(broker.lines):
        raise InstallError(f"{mosquitto} does not read {broker.file}; it says:\n{said.strip()}")
    line = broker.lines[number - 1]
    raise ConfigurationError(
        file=str(line.file),
        line=line.number,
        key=line.key,
        # Not the value: below a misspelt key it may be a bridge's password.
        found=reasons[-1].rstrip(".") if reasons else "what it refuses",
        expected="what this Mosquitto can read: see man mosquitto.conf",
    )


def _read(mosquitto: Path, text: str) -> str:
    """What the broker says about a configuration that it cannot run with."""
    with tempfile.TemporaryDirectory(prefix="assetgate-syntax-") as folder:
        file = Path(folder) / "mosquitto.conf"
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - the broker found by the caller
                [str(mosquitto), "-c", str(file)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
                env={name: value for name, value in os.environ.items() if not name.startswith("AUTHPLUGIN_")},
            )
        except subprocess.TimeoutExpired:
            raise InstallError(f"{mosquitto} did not read a configuration in {SECONDS:.0f} s") from None
    return (done.stdout + done.stderr).decode(errors="replace")
