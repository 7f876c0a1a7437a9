# Longhaul's image: both programs, certificates, and nothing else. No shell, no package, no root. `make image` builds it.
#
# There is no entry point: a pod has one container for each program and says which (`command` in the chart).
# Nothing here is for one architecture: programs are built for that of the builder.

# Beside Rust it must have a C compiler and make, for aws-lc and jemalloc, and the static form of its C library; cmake it
# need not have.
ARG RUST_IMAGE=docker.io/library/rust:1.95-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian13:nonroot

FROM ${RUST_IMAGE} AS build
# A profile of Cargo.toml.
ARG PROFILE=release
# Kept by the builder from one build to the next, and not part of the image.
ENV CARGO_HOME=/cache/cargo CARGO_TARGET_DIR=/cache/target
WORKDIR /src
COPY . .
# - Cargo goes by times, which say nothing about what a kept target folder was made from: `touch`.
# - With a target named, the flags are for the programs alone; macros that run in the compiler cannot be static.
RUN --mount=type=cache,target=/cache \
    find . -type f -exec touch {} + && \
    target=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --target "$target" \
      --profile "$PROFILE" --config "profile.$PROFILE.strip='symbols'" \
      --package controller --package proxy --bins && \
    mkdir /programs && \
    cp "/cache/target/$target/$PROFILE/longhaul-controller" "/cache/target/$target/$PROFILE/longhaul-proxy" /programs/

FROM ${RUNTIME_IMAGE}
COPY --from=build /programs/ /usr/local/bin/
COPY LICENSE /usr/share/doc/longhaul/
USER 65532:65532
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Longhaul" \
      org.opencontainers.image.description="A Kubernetes ingress for WebSockets that stay open for hours or weeks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
