"""Builds the plugin with a plain C compiler, for the interpreter that runs this.

The binary itself knows no interpreter: which libpython, standard library and site-packages it uses
are plugin options. So building says what this machine has, and what is missing.
"""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from authplugin.errors import BuildError

COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    *("-O2", "-fPIC", "-shared", "-std=gnu11", "-Wall", "-Wextra"),
    *("-fvisibility=hidden", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"),
    # nodelete: the broker unloads plugins before it exits, Python's threads would go on in nothing.
    *("-Wl,-z,nodelete", "-Wl,-z,relro", "-Wl,-z,now"),
)

BROKER_USER = "mosquitto"
"""Whom Mosquitto becomes unless its configuration says otherwise."""

_OTHERS_READ, _OTHERS_ENTER = 0o004, 0o001


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that the broker will run.

    Attributes:
        libpython: its shared library.
        home: the folder that holds ``lib/pythonX.Y``, its standard library.
        site: the site-packages folder that assetgate and its dependencies are in.
    """

    libpython: Path
    home: Path
    site: Path


def find_interpreter(
    variables: Mapping[str, object] | None = None, base: Path | None = None, site: Path | None = None
) -> Interpreter:
    """Find what the broker needs of the running Python (a virtual environment's base included).

    Args:
        variables: of `sysconfig`; those of the running Python when None.
        base: ``sys.base_prefix`` when None.
        site: ``purelib`` of the running Python when None.

    Raises:
        BuildError: this Python has no shared library, or it is not installed.
    """
    found = sysconfig.get_config_vars() if variables is None else variables
    base = Path(sys.base_prefix) if base is None else base
    site = Path(sysconfig.get_path("purelib")) if site is None else site
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = str(found.get("INSTSONAME") or "")
    if not found.get("Py_ENABLE_SHARED") or ".so" not in name:
        raise BuildError(
            f"the Python in {base} was built without a shared library, which the broker needs. Use Debian's "
            f"(apt-get install python3-venv libpython{version}), or build it anew: "
            f'PYTHON_CONFIGURE_OPTS="--enable-shared" pyenv install --force {version}'
        )
    folders = [
        base / "lib",
        *(Path(str(found[key])) for key in ("LIBDIR",) if found.get(key)),
        *(Path(root) / str(found["MULTIARCH"]) for root in ("/usr/lib", "/lib") if found.get("MULTIARCH")),
    ]
    for folder in folders:
        if (folder / name).is_file():
            return Interpreter(folder / name, base, site)
    looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise BuildError(f"{name} is not in {looked}: apt-get install libpython{version}")


def build_plugin(output: Path) -> None:
    """Compile the shim; an older file of that name is replaced whole, or not at all.

    Raises:
        BuildError: there is no compiler, or it failed.
        OSError: the plugin cannot be written there.
    """
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise BuildError("there is no C compiler: apt-get install gcc libc6-dev")
    output.parent.mkdir(parents=True, exist_ok=True)
    made = output.with_name(output.name + ".new")
    with as_file(files("authplugin.brokers.mosquitto") / "shim.c") as source:
        done = subprocess.run(  # noqa: S603 - the compiler found above, on our own source
            [compiler, *FLAGS, "-o", str(made), str(source), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        made.unlink(missing_ok=True)
        hint = ": apt-get install libc6-dev" if "No such file or directory" in done.stderr else ""
        raise BuildError(f"{compiler} failed{hint}\n{done.stderr.strip()}")
    # A broker may have the old file mapped: a new one takes its name, the old one lives on for it.
    try:
        made.replace(output)
    except OSError:
        made.unlink(missing_ok=True)
        raise


def unreadable(paths: Iterable[Path], user: str = BROKER_USER) -> list[Path]:
    """Files and folders on the way to ``paths`` that the broker's own user would not get through.

    Mosquitto started as root becomes that user before it loads plugins. Looked at are the rights of
    owner, groups and others, not access control lists; empty where there is no such user, and for root.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return []
    if entry.pw_uid == 0:
        return []
    groups = os.getgrouplist(user, entry.pw_gid)
    closed: list[Path] = []
    for path in paths:
        absolute = path.absolute()
        for step in (*reversed(absolute.parents), absolute):
            try:
                status = step.stat()
            except OSError:
                break
            needed = _OTHERS_ENTER if step.is_dir() else _OTHERS_READ
            if status.st_uid == entry.pw_uid:
                needed <<= 6
            elif status.st_gid in groups:
                needed <<= 3
            if not status.st_mode & needed:
                closed.append(step)
                break
    return list(dict.fromkeys(closed))
