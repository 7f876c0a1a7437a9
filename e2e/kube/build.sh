#!/usr/bin/env bash
# Builds the Kubernetes programs that the tests start: one binary with a link for each name, and the pause program of
# pods. What was built from the same inputs is not built twice, also not by two runs at once.
#
# usage: build.sh [where | helm]
#   (nothing)   build, and print the folder
#   where       print the folder, or fail if it is not built
#   helm        build helm (4) and helm3, and print their folder
#
# LONGHAUL_CACHE: where results are kept, in place of .cache of the checkout; several checkouts may share one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${LONGHAUL_CACHE:-$here/../../.cache}

# Go 1.27's JSON breaks the OpenAPI v2 of this Kubernetes, so not whichever Go is there: another is fetched.
export GOTOOLCHAIN=go1.26.8 CGO_ENABLED=0
readonly HELM_VERSION=v4.3.1 HELM3_VERSION=v3.22.0
readonly NAMES=(etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl kubelet)

key=$(cat "$here"/{build.sh,main.go,go.mod,go.sum,pause.c} | sha256sum | cut -c 1-16)
programs=$cache/kube/$key
helms=$cache/helm/$HELM_VERSION-$HELM3_VERSION

require() {
  command -v "$1" >/dev/null || { echo "$1 is not installed, and $2 is built with it" >&2; exit 1; }
}

# Runs a function under a lock of its own, unless its folder is there already. The folder appears in one step.
once() {
  local folder=$1 make=$2
  mkdir -p "$(dirname "$folder")"
  (
    flock 9
    [ -d "$folder" ] && exit
    rm -rf "$folder.new"
    mkdir "$folder.new"
    "$make" "$folder.new"
    mv "$folder.new" "$folder"
  ) 9>"$folder.lock" >&2
  (cd "$folder" && pwd)
}

make_programs() {
  local folder=$1 version minor
  require go Kubernetes
  require cc "the pause program"
  version=$(cd "$here" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  minor=${version#v1.} minor=${minor%%.*}
  echo "  building Kubernetes $version (once; ten minutes on two cores)"
  local stamp=(
    "k8s.io/component-base/version.gitVersion=$version"
    "k8s.io/component-base/version.gitMajor=1"
    "k8s.io/component-base/version.gitMinor=$minor"
    "k8s.io/component-base/version.gitTreeState=clean"
    "k8s.io/client-go/pkg/version.gitVersion=$version"
  )
  (cd "$here" && nice go build -trimpath -o "$folder/kubeall" -ldflags "-s -w ${stamp[*]/#/-X }" .)
  for name in "${NAMES[@]}"; do
    ln -s kubeall "$folder/$name"
  done
  cc -Os -static -s -o "$folder/pause" "$here/pause.c"
}

make_helms() {
  require go helm
  echo "  building helm $HELM_VERSION and $HELM3_VERSION (once; five minutes on two cores)"
  GOBIN=$1 nice go install -trimpath -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$HELM3_VERSION"
  mv "$1/helm" "$1/helm3"
  GOBIN=$1 nice go install -trimpath -ldflags "-s -w" "helm.sh/helm/v4/cmd/helm@$HELM_VERSION"
}

case "${1:-}" in
  "") once "$programs" make_programs ;;
  where) cd "$programs" 2>/dev/null && pwd || { echo "the Kubernetes programs are not built" >&2; exit 1; } ;;
  helm) once "$helms" make_helms ;;
  *)
    sed -n '5,8s/^# //p' "$0" >&2
    exit 2
    ;;
esac
