"""``python -m tests.fuzz.feed TARGET CORPUS SECONDS``: one target under atheris, in the fuzzer's environment.

What it finds interesting stays in the folder CORPUS; an input that breaks a body is written beside it,
and ends the run with an error.
"""

import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped] # it is in the fuzzer's own environment

with atheris.instrument_imports(include=["authplugin"]):
    from tests.fuzz.targets import TARGETS

name, corpus, seconds = sys.argv[1:]
target = TARGETS[name]
folder = Path(corpus)
folder.mkdir(parents=True, exist_ok=True)
for number, seed in enumerate(target.seeds()):
    (folder / f"seed-{number}").write_bytes(seed)
options = [f"-max_total_time={seconds}", "-max_len=9000", "-timeout=10", "-rss_limit_mb=2048"]
options += [f"-artifact_prefix={folder}-", "-print_final_stats=1", "-verbosity=0"]
atheris.Setup([sys.argv[0], *options, str(folder)], target.body)
atheris.Fuzz()
