#!/usr/bin/env bash
# Makes .venv from requirements.txt. Repeating it costs nothing, and a run that was interrupted is made good by the next.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
venv=$root/.venv
lock=requirements.txt
sslyze_lock=requirements-sslyze.txt

exec 9>"$root/.venv.lock"
flock 9

python=${PYTHON:-python3}
# A virtual environment knows its own path and its interpreter, so both belong to the key.
key=$({ sha256sum "$lock" "$sslyze_lock" "$0"; "$python" -VV; echo "$root"; } | sha256sum | cut -d' ' -f1)
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/ready" 2>/dev/null)" = "$key" ]; then
    exit 0
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup_venv: $("$python" -V) is too old, Python 3.11 or newer is needed: set PYTHON to one" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "setup_venv: Python's venv module is missing: install the package python3-venv" >&2
        exit 1
    fi
    echo "setup_venv: installing python3-venv"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
fi

SECONDS=0
echo "setup_venv: making .venv from $lock ($(grep -c '^[a-z].*==' "$lock") packages)"
rm -rf "$venv"
"$python" -m venv "$venv"
# uv installs in a third of pip's time; pip gets it from the same lock, so that its hash is checked too.
sed -n '/^uv==/,/[^\\]$/p' "$lock" >"$venv/uv.txt"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$venv/uv.txt"
# uv does not read pip's configuration: an index or certificates set there serve it as well.
index=$("$venv/bin/pip" config get global.index-url 2>/dev/null || true)
cert=$("$venv/bin/pip" config get global.cert 2>/dev/null || true)
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[ -z "$cert" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$cert}"
"$venv/bin/uv" pip install --quiet --no-deps --require-hashes --python "$venv/bin/python" -r "$lock"
"$venv/bin/uv" venv --quiet --python "$python" "$venv/sslyze"
"$venv/bin/uv" pip install --quiet --no-deps --require-hashes --python "$venv/sslyze/bin/python" -r "$sslyze_lock"
# Ansible compiles what collections hold by itself; the rest is compiled once here, also where writing bytecode is off.
"$venv/bin/python" -m compileall -q -j 2 -x ansible_collections "$venv/lib"

# ansible.cfg looks for collections here: escala.ha is this checkout, whatever its folder is called.
mkdir -p "$venv/ansible_collections/escala"
ln -sfn "$root" "$venv/ansible_collections/escala/ha"
# And for Mitogen's strategies, whose folder has Python's version in its path.
ln -sfn "$("$venv/bin/python" -c 'import pathlib, ansible_mitogen; print(pathlib.Path(ansible_mitogen.__file__).parent)')/plugins/strategy" "$venv/strategy"
echo "$key" >"$venv/ready"
echo "setup_venv: done in ${SECONDS} s"
