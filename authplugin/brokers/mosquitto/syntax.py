"""Has the broker itself read a configuration, to its last line and no further.

No Mosquitto of ours checks a file without running it, and a misspelt key keeps it from starting. So
it gets copies of the files, each line as it stands and in its place, and at the end one that it cannot
know: what it stumbles over is that line or a mistake, and it ends before it opens anything.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from authplugin.brokers.mosquitto.configuration import INCLUDE, BrokerConfiguration
from authplugin.errors import ConfigurationError, InstallError

SECONDS = 15.0
"""Longest time that the broker may take."""

_END = "assetgate_has_read_all_before_this"
_MAIN = "mosquitto.conf"
_PLACE = re.compile(r"Error found at '?.*/([^/]+):([0-9]+)'?\.")
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
    with tempfile.TemporaryDirectory(prefix="assetgate-syntax-") as folder:
        said = _read(mosquitto, _copy(broker, Path(folder)))
    if _END in said:
        return
    reasons = _WHY.findall(said)
    lines = {(_name(line.reading), line.number): line for line in broker.lines}
    # The first place is the innermost: the file that includes it is named after it.
    places = [
        lines[place] for name, number in _PLACE.findall(said) if (place := (name, int(number))) in lines
    ]
    if not places:
        raise InstallError(f"{mosquitto} does not read {broker.file}; it says:\n{said.strip()}")
    line = places[0]
    raise ConfigurationError(
        file=str(line.file),
        line=line.number,
        key=line.key,
        # Not the value: below a misspelt key it may be a bridge's password.
        found=reasons[-1].rstrip(".") if reasons else "what it refuses",
        expected="what this Mosquitto can read: see man mosquitto.conf",
    )


def _copy(broker: BrokerConfiguration, folder: Path) -> Path:
    """Copy the files, each folder that is included to one beside them; the path of the first."""
    texts: dict[int, list[str]] = {0: []}
    including = folder
    places = {0: folder}
    for line in broker.lines:
        if line.reading not in texts:
            texts[line.reading], places[line.reading] = [], including
        text = texts[line.reading]
        # Blank lines stand for comments, so that every other has its number.
        text += [""] * (line.number - 1 - len(text))
        if line.key == INCLUDE:
            including = folder / f"{len(text):08}"
            including.mkdir()
            text.append(f"{INCLUDE} {including}")
        else:
            text.append(line.written)
    texts[0].append(f"{_END} 1")
    for reading, text in texts.items():
        file = places[reading] / _name(reading)
        file.write_text("".join(f"{each}\n" for each in text), encoding="utf-8", newline="\n")
    return folder / _MAIN


def _name(reading: int) -> str:
    """A copy's name; by it the broker reads them in the order of the files."""
    return f"{reading:08}.conf" if reading else _MAIN


def _read(mosquitto: Path, file: Path) -> str:
    """What the broker says about a configuration that it cannot run with."""
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
