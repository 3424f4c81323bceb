# `just` lists these. Each is one or two plain commands: copy them if you have no just.

_default:
    @just --list --unsorted

# What must pass before a push. Writes nothing.
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    cargo test --locked

# Rewrites what a tool can rewrite.
fix:
    cargo clippy --fix --allow-dirty --allow-staged --all-targets
    cargo fmt
    UPDATE_GENERATED=1 cargo test --locked --test config --test telemetry

# The quick way round: every test that plain `cargo test` runs.
test *ARGS:
    cargo test --locked {{ARGS}}

# The whole of what a new machine runs, the README's tour included.
slow:
    .ci/run

# A cluster on this machine; Ctrl-C stops it, again resumes it.
up *ARGS:
    cargo run --release -- up {{ARGS}}

# Measures a running cluster: `just up` in another terminal first.
bench *ARGS:
    cargo run --release -- bench {{ARGS}}

# The reference of the source, in a browser.
doc:
    cargo doc --no-deps --open

# Licences, duplicates and sources of dependencies; needs cargo-deny.
deny:
    cargo deny check bans licenses sources
