# The image of one node. Build: docker build -t bitacora:dev .   More: docs/docker.md

FROM rust:1.95-slim-bookworm AS build
WORKDIR /bitacora

# The dependencies first, with an empty crate in place of ours: this layer is built again only when the
# manifest, the lock file or a vendored crate changes. (No cache mounts: not every builder has them.)
COPY Cargo.toml Cargo.lock ./
COPY vendor vendor
RUN mkdir src \
    && echo '' >src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked \
    && rm -rf src target/release/bitacora target/release/deps/*bitacora* target/release/.fingerprint/bitacora-*

# Which source this is, for the metric bitacora_build_info.
ARG BITACORA_REVISION=unknown
ENV BITACORA_REVISION=$BITACORA_REVISION
# The manifest is named again for a build.rs beside it, which there may not be.
COPY Cargo.toml build.r[s] ./
COPY src src
RUN cargo build --release --locked --bin bitacora \
    && objcopy --strip-debug target/release/bitacora /usr/local/bin/bitacora \
    && install -d -o 65532 -g 65532 -m 0750 /image/var/lib/bitacora


FROM gcr.io/distroless/cc-debian12:nonroot
# Owned by the user below: a new named volume takes its owner from here.
COPY --from=build --chown=65532:65532 /image/var/lib/bitacora /var/lib/bitacora
COPY --from=build /usr/local/bin/bitacora /usr/local/bin/bitacora

ENV BITACORA_LISTEN=0.0.0.0:5000 \
    BITACORA_DATA_DIR=/var/lib/bitacora
USER 65532:65532
EXPOSE 5000
VOLUME /var/lib/bitacora
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/bitacora", "probe", "ready"]
ENTRYPOINT ["/usr/local/bin/bitacora"]
CMD ["serve"]

# Last: a new revision costs no layer but these.
ARG BITACORA_REVISION=unknown
LABEL org.opencontainers.image.title="bitacora" \
      org.opencontainers.image.description="A replicated logbook and key-value store" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/bitacora/bitacora" \
      org.opencontainers.image.revision="$BITACORA_REVISION"
