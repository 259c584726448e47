#!/usr/bin/env bash
# Installs what the tests need on Debian, then runs them. Needs a Rust toolchain. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/install.sh --tests
cargo test --locked --workspace "$@"
