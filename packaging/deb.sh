#!/usr/bin/env bash
# Builds the Debian package. Arguments go to cargo deb.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked
"${CARGO_TARGET_DIR:-target}/release/plaza" generate target/package
# A package's programs are in /usr/bin.
sed 's|/usr/local/bin/plaza|/usr/bin/plaza|' systemd/plaza.service > target/package/plaza.service
# Without what only debuggers read, which is most of it.
cargo deb --no-build --strip "$@"
