"""What TensorFlow's native code says and nobody needs to read."""

import os
import subprocess
import sys

import pytest

from mosei_ssl.utils.quiet import without_notes

SAID = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795464445.782507    9503 cpu_feature_guard.cc:227] This TensorFlow binary is optimized
goo.gle/debugproto
type_id: TFT_OPTIONAL
args {
}
 is neither a subtype nor a supertype of the combined inputs preceding it:
goo.gle/debugproto
type_id: TFT_OPTIONAL

\tfor Tuple type infernce function 0
\twhile inferring type of node 'cond/output/_147'
goo.gle/debugstr
goo.gle/debugonly
2026-11-24 20:00:00.1: W tensorflow/core/x.cc:1] oneDNN supports DT_INT64 only on x
mosei-ssl pretrain: data: no such folder
E0000 00:00:1795464445.782507    9503 something.cc:1] that matters
"""


def test_notes_and_dumps_are_dropped_and_errors_stay():
    lines = SAID.splitlines(keepends=True)
    assert list(without_notes(lines)) == lines[-2:]


@pytest.mark.slow
def test_python_use_shows_no_banner():
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    code = "import mosei_ssl; mosei_ssl.load('emotion-small'); import sys; sys.stderr.write('end')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "end")
