#!/bin/sh
# Builds the release archive of the application: build.sh OUTPUT.tar.gz
# Needs Node 20.19 or newer, npm 9.2 or newer, and GNU tar. The sources stay as they are: the work is done in a copy.
# The same sources, node and npm give the same archive, byte by byte.
set -eu

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: build.sh OUTPUT.tar.gz"
for program in node npm tar gzip sha256sum; do
    command -v "$program" >/dev/null || fail "$program is missing; install it first"
done
output=$(realpath -m "$1")
sources=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

tar -C "$sources" --exclude=node_modules --exclude=dist --exclude=build --exclude=backend/src/generated \
    -cf - backend frontend daemon | tar -C "$work" -xf -
cd "$work"
source_digest=$(find backend frontend daemon -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)

install_packages() {
    (cd "$1" && npm ci --prefer-offline --no-audit --no-fund --loglevel=error)
}

# Side by side, because installing mostly waits.
install_packages frontend &
frontend_install=$!
install_packages backend || fail "the backend's packages cannot be installed"
wait "$frontend_install" || fail "the frontend's packages cannot be installed"

(cd frontend && npm run --silent check && npm run --silent build -- --logLevel=warn)
(cd backend && npm run --silent build >build.log 2>&1 || { cat build.log >&2; exit 1; })
# The Prisma CLI is an optional peer of its client, hence more than --omit=dev.
(cd backend && npm prune --omit=dev --omit=optional --omit=peer --no-audit --no-fund --loglevel=error >/dev/null)

# Prisma ships its query compiler for five databases, in two sizes, for two module systems and for edge runtimes: 70 MB.
# This application loads one of them: the fast one for PostgreSQL as an ES module.
find backend/node_modules/@prisma/client/runtime \
    \( -name 'query_compiler_*' ! -name 'query_compiler_fast_bg.postgresql.*mjs' -o -name 'wasm-compiler-edge.*' \) -delete
# The kits of S3 and Azure come in several builds, too: 17 MB for browsers and phones.
find backend/node_modules/@azure backend/node_modules/@typespec -type d -path '*/dist/*' \( -name browser -o -name react-native \) -prune -exec rm -r {} +
# Types, maps, caches and links to command line tools serve whoever develops, not what runs.
find backend/node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete
rm -rf backend/node_modules/.bin backend/node_modules/.cache backend/node_modules/@types

mkdir -p release/backend release/daemon
mv backend/dist backend/node_modules backend/prisma backend/package.json release/backend/
mv frontend/dist release/frontend
cp daemon/daemon.mjs daemon/static.mjs daemon/package.json release/daemon/
node - "$source_digest" >release/release.json <<'JS'
const { version, engines } = JSON.parse(require("node:fs").readFileSync("release/backend/package.json", "utf8"));
const release = { name: "tenant_app", version, node_minimum: engines.node.replace(">=", ""), built_from: `sha256:${process.argv[2]}` };
console.log(JSON.stringify(release, null, 2));
JS
# What is shipped must at least load: a file stripped by mistake is found here and not on a server. With nothing set,
# the server's first act is to refuse its configuration (78), after all of its modules but the query compiler are in.
status=0
env -i PATH="$PATH" node release/backend/dist/server.js 2>/dev/null || status=$?
[ "$status" -eq 78 ] || fail "the built backend does not start (status $status)"
# These are loaded only where they are configured.
for driver in s3 azure_blob; do
    node --input-type=module --eval "await import('$work/release/backend/dist/storage/$driver.js')" ||
        fail "the built backend cannot load its storage driver $driver"
done
[ -f release/backend/node_modules/@prisma/client/runtime/query_compiler_fast_bg.postgresql.wasm-base64.mjs ] ||
    fail "Prisma's query compiler has another name than expected; mend the clean-up above"

mkdir -p "$(dirname "$output")"
tar -C release --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode='u+rwX,go=rX' \
    -cf - backend daemon frontend release.json | gzip -n >"$output.part"
mv "$output.part" "$output"
echo "$output: $(du -h "$output" | cut -f1), $(sha256sum "$output" | cut -d' ' -f1)"
