#!/usr/bin/env bash
# Builds Longhaul's image from the Dockerfile beside it.
#
# usage: image.sh build NAME:TAG   with docker, podman or buildah, the first that works here, or the one in BUILDER
#        image.sh archive          for the tests: localhost/longhaul:dev in a file that containerd imports; prints its path
#
# `archive` needs buildah and no registry. The Dockerfile is built unchanged, but its two public bases are stand-ins of
# the same names: this machine's C compiler and Rust, read-only and without cmake; this machine's certificates. So what
# is tried is the Dockerfile, and not whether the public bases are there and hold what it says they do.
#
# What was built from the same sources is not built twice, and nothing is kept outside of .cache.
# PROFILE: a profile of Cargo.toml, in place of `release`, or for `archive` of `image-test`.
# LONGHAUL_CACHE: where results are kept, in place of .cache of the checkout; several checkouts may share one.
set -euo pipefail
cd "$(dirname "$0")"

readonly ARCHIVED=localhost/longhaul:dev
# As a registry sends it.
readonly MOST_BYTES=$((40 * 1024 * 1024))

# The value of an ARG of the Dockerfile.
argument() {
  sed -n "s/^ARG $1=//p" Dockerfile
}

version() {
  sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml
}

build() {
  local name=$1 builder revision
  revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  for builder in ${BUILDER:-docker podman buildah}; do
    # A client of docker may be there without its server.
    "$builder" info >/dev/null 2>&1 || continue
    echo "building $name with $builder"
    DOCKER_BUILDKIT=1 exec "$builder" build --tag "$name" --build-arg "PROFILE=${PROFILE:-release}" \
      --build-arg "VERSION=$(version)" --build-arg "REVISION=$revision" .
  done
  echo "none of these works here: ${BUILDER:-docker podman buildah}" >&2
  exit 1
}

archive() {
  local cache=${LONGHAUL_CACHE:-.cache}/image archive
  PROFILE=${PROFILE:-image-test}
  command -v buildah >/dev/null || { echo "buildah is not installed" >&2; exit 1; }
  mkdir -p "$cache"
  cache=$(cd "$cache" && pwd)
  archive=$cache/$(sources_key).tar
  (
    flock 9
    if [ -f "$archive" ]; then
      touch "$archive"
    else
      make_archive "$cache" "$archive"
    fi
  ) 9>"$cache/lock" >&2
  echo "$archive"
}

# Of everything that the image is made of: see .dockerignore.
sources_key() {
  local sources=(image.sh Dockerfile .dockerignore LICENSE Cargo.lock Cargo.toml controller crds proxy e2e/Cargo.toml
    e2e/src/lib.rs)
  {
    echo "$PROFILE"
    rustc -vV
    find "${sources[@]}" -type f -not -path '*/tests/*' -not -path '*/examples/*' -not -path 'proxy/fuzz/*' -print0 |
      LC_ALL=C sort --zero-terminated | xargs -0 sha256sum
  } | sha256sum | cut -c 1-16
}

make_archive() {
  local cache=$1 archive=$2 bytes
  # Not local: the trap reads it. Whatever a killed run has left is in the way.
  work=$cache/work
  rm -rf "$work" "$cache"/buildah[0-9]*
  mkdir "$work"
  trap 'rm -rf "$work"' EXIT
  echo "  building the image, on stand-ins of its public bases (the first time takes minutes)"
  stand_ins
  build_on_stand_ins
  buildah_here push --quiet "$ARCHIVED" "oci-archive:$work/image.tar:$ARCHIVED"
  bytes=$(stat --format %s "$work/image.tar")
  echo "  the image is $((bytes / 1024)) KiB, compressed"
  [ "$bytes" -le "$MOST_BYTES" ] || { echo "at most $((MOST_BYTES / 1024)) KiB is what we promise" >&2; exit 1; }
  find "$cache" -maxdepth 1 -name '*.tar' -mtime +7 -delete
  mv "$work/image.tar" "$archive"
}

# With a store of its own: nothing is left in the machine's.
buildah_here() {
  # Below TMPDIR buildah keeps what is mounted with `type=cache`.
  TMPDIR=$(dirname "$work") nice buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$@"
}

stand_ins() {
  local rust=$work/rust runtime=$work/runtime folder
  mkdir -p "$rust"/{usr,etc/alternatives,etc/ssl/certs,opt/rust,root,tmp,var,proc,sys,dev}
  for folder in bin lib lib64 sbin; do
    ln -s "usr/$folder" "$rust/$folder"
  done
  cp /etc/passwd /etc/group "$rust/etc/"
  printf 'FROM scratch\nCOPY . /\nENV PATH=/opt/rust/bin:/usr/bin:/bin\n' >"$work/rust.Dockerfile"

  mkdir -p "$runtime"/{etc/ssl/certs,home/nonroot,tmp}
  cp /etc/ssl/certs/ca-certificates.crt "$runtime/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' \
    >"$runtime/etc/passwd"
  printf 'FROM scratch\nCOPY . /\nUSER 65532\n' >"$work/runtime.Dockerfile"

  buildah_here build --quiet --tag "$(argument RUST_IMAGE)" --file "$work/rust.Dockerfile" "$rust" >/dev/null
  buildah_here build --quiet --tag "$(argument RUNTIME_IMAGE)" --file "$work/runtime.Dockerfile" "$runtime" >/dev/null
}

build_on_stand_ins() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} mounts program
  mkdir -p "$cargo_home"
  mounts=(
    --volume /usr:/usr:ro
    --volume /etc/alternatives:/etc/alternatives:ro
    --volume /etc/ssl/certs:/etc/ssl/certs:ro
    --volume "$(rustc --print sysroot):/opt/rust:ro"
    # What cargo has fetched for this machine it need not fetch again.
    --volume "$cargo_home:$(sed -n 's/^ENV CARGO_HOME=\([^ ]*\).*/\1/p' Dockerfile)"
  )
  # The public base has none of these.
  for program in cmake ninja clang go; do
    [ ! -e "/usr/bin/$program" ] || mounts+=(--volume "/dev/null:/usr/bin/$program:ro")
  done
  # Of buildah's ways to isolate, this one leaves the machine's firewall alone.
  buildah_here build --isolation chroot --pull-never "${mounts[@]}" --tag "$ARCHIVED" \
    --build-arg "PROFILE=$PROFILE" --build-arg "VERSION=$(version)" .
}

case "${1:-} $#" in
  "build 2") build "$2" ;;
  "archive 1") archive ;;
  *)
    sed -n '4,5s/^# //p' "$0" >&2
    exit 2
    ;;
esac
