#!/usr/bin/env bash
# Fetches what the tests drive, into .cache of the checkout: clients, and the programs of a cluster. Nothing is
# fetched twice.
#
# usage: tools.sh [clients | cluster | cargo-deny]
# What cannot be had is said, one line each, and is no failure unless CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CARGO_DENY_VERSION=0.20.2
missing=0

cannot() {
  echo "  cannot: $1"
  missing=1
}

# Whether .cache/$1 was made from the files named after it.
fresh() {
  local stamp=.cache/$1/.made-from
  shift
  [ -f "$stamp" ] && [ "$(cat "$@" | cksum)" = "$(cat "$stamp")" ]
}

made_from() {
  local folder=.cache/$1
  shift
  cat "$@" | cksum >"$folder/.made-from"
}

npm_packages() {
  local from=(e2e/clients/package.json e2e/clients/package-lock.json)
  command -v node >/dev/null && command -v npm >/dev/null || { cannot "npm clients: node and npm are not installed"; return; }
  fresh npm "${from[@]}" && return
  rm -rf .cache/npm
  mkdir -p .cache/npm
  cp "${from[@]}" .cache/npm/
  if (cd .cache/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2); then
    made_from npm "${from[@]}"
  else
    cannot "npm clients: npm ci failed"
  fi
}

python_packages() {
  local from=(e2e/clients/requirements.txt)
  command -v python3 >/dev/null || { cannot "Python clients: python3 is not installed"; return; }
  fresh python "${from[@]}" && return
  rm -rf .cache/python
  mkdir -p .cache/python
  if python3 -m pip install --quiet --no-warn-script-location --root-user-action=ignore --only-binary :all: \
    --target .cache/python --requirement "${from[0]}" >&2; then
    made_from python "${from[@]}"
  else
    cannot "Python clients: pip install failed"
  fi
}

# Installs what is missing of PROGRAM=PACKAGE ... in one go.
debian_packages() {
  local pair programs=() packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null && continue
    programs+=("${pair%%=*}")
    packages+=("${pair#*=}")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    cannot "${programs[*]}: not installed, and not root on a Debian machine"
    return
  fi
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
  mkdir -p .cache
  # apt waits for who installs, but not for who reads the lists: the clients and the cluster are fetched side by side.
  (
    flock 8
    "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes --no-install-recommends "${packages[@]}"
  ) 8>.cache/apt.lock >&2 || cannot "${programs[*]}: apt-get install ${packages[*]} failed"
}

kubernetes() {
  # Each prints a folder, which nobody here asks for; what takes long is said on the other output.
  e2e/kube/build.sh >/dev/null || cannot "Kubernetes: e2e/kube/build.sh failed"
  e2e/kube/build.sh helm >/dev/null || cannot "helm: e2e/kube/build.sh helm failed"
}

longhaul_image() {
  ./image.sh archive >/dev/null || cannot "Longhaul's image: image.sh failed"
}

cargo_deny() {
  local program=.cache/cargo-deny/bin/cargo-deny
  [ -x "$program" ] && "$program" --version | grep -qx "cargo-deny $CARGO_DENY_VERSION" && return
  echo "  building cargo-deny $CARGO_DENY_VERSION (once, some minutes)"
  cargo install --quiet --locked --version "$CARGO_DENY_VERSION" --root .cache/cargo-deny cargo-deny ||
    cannot "cargo-deny: cargo install failed"
}

case "${1:-clients}" in
  clients)
    npm_packages
    python_packages
    debian_packages curl=curl openssl=openssl chromium=chromium
    ;;
  cluster)
    debian_packages ip=iproute2 nft=nftables containerd=containerd runc=runc \
      /usr/lib/cni/bridge=containernetworking-plugins conntrack=conntrack ethtool=ethtool socat=socat buildah=buildah
    kubernetes
    longhaul_image
    ;;
  cargo-deny)
    cargo_deny
    [ "$missing" = 0 ] || exit 1
    ;;
  *)
    echo "usage: tools.sh [clients | cluster | cargo-deny]" >&2
    exit 2
    ;;
esac

if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
  echo "with CI=true nothing may be missing" >&2
  exit 1
fi
