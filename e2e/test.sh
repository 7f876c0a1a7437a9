#!/usr/bin/env bash
# Everything that this machine can run, in three tiers. Sets up what they need, builds the real programs, runs all tests
# of the workspace, and says at the end what ran, how long it took, and what did not run.
#
#   A  without a cluster: units, properties, both programs and real clients on loopback
#   B  with a real control plane: etcd, API server and controller manager in a network namespace; and with Helm
#   C  with a real node besides: the image, the chart, pods
#
# usage: test.sh [A] [B] [C]     all of them when none is named
set -euo pipefail
cd "$(dirname "$0")/.."

# Which test programs need a cluster is told by their names.
readonly OF_B='^(chart|chart_on_cluster|control_plane|watch_loss|kubernetes_.*)$'
readonly OF_C='^(image|node|node_.*)$'
# Those that wait for time to pass more than they do anything: they run beside the others of their tier.
readonly WAITING='^(timeouts|changes|supervise|slow_readers|watch_loss|kubernetes_permissions|kubernetes_replicas)$'

tiers=("$@")
[ ${#tiers[@]} -gt 0 ] || tiers=(A B C)
chosen() { [[ " ${tiers[*]} " == *" $1 "* ]]; }

work=$(mktemp -d)
background=
trap '[ -z "$background" ] || kill "$background" 2>/dev/null || true; rm -rf "$work"' EXIT
export LONGHAUL_SKIPPED=$work/skipped LONGHAUL_MEASURED=$work/measured
: >"$LONGHAUL_SKIPPED" >"$LONGHAUL_MEASURED" >"$work/log" >"$work/times"
status=0

# Kubernetes takes as long to build as everything else together: it is built, niced, while cargo works.
if chosen B || chosen C; then
  e2e/tools.sh cluster >"$work/cluster" 2>&1 &
  background=$!
fi
if chosen A; then
  echo "clients:"
  e2e/tools.sh clients
  for program in node python3 curl openssl chromium; do
    found=$(command -v "$program" || true)
    echo "  $program: ${found:-absent}"
  done
fi

# The names of all test programs, in order, as --test takes them.
programs() {
  local file
  {
    for file in e2e/tests/*.rs {controller,controller/translate,crds,proxy,proxy/routing,proxy/snapshot}/tests/*.rs; do
      [ ! -f "$file" ] || basename "$file" .rs
    done
    for file in {controller,controller/translate,crds,proxy,proxy/routing,proxy/snapshot,e2e}/tests/*/main.rs; do
      [ ! -f "$file" ] || basename "$(dirname "$file")"
    done
  } | sort -u
}

# Runs test programs. Always for the whole workspace: its crates are built with the same features each time.
run() {
  cargo test --locked --workspace --no-fail-fast "$@" 2>&1
}

# A tier: its letter, what it is, the names of its programs, and what else cargo is to test.
tier() {
  local letter=$1 what=$2 names busy waiting beside= started=$SECONDS
  mapfile -t names <<<"$3"
  mapfile -t waiting < <(grep -E "$WAITING" <<<"$3" || true)
  mapfile -t busy < <(grep -Ev "$WAITING" <<<"$3" || true)
  shift 3
  echo "== tier $letter, $what"
  run --no-run "$@" "${names[@]/#/--test=}" | tee -a "$work/log" || status=$?
  if [ ${#waiting[@]} -gt 0 ]; then
    run "${waiting[@]/#/--test=}" >"$work/beside" &
    beside=$!
  fi
  run "$@" "${busy[@]/#/--test=}" | tee -a "$work/log" || status=$?
  if [ -n "$beside" ]; then
    wait "$beside" || status=$?
    tee -a "$work/log" <"$work/beside"
  fi
  echo "tier $letter, $what: $((SECONDS - started)) s" >>"$work/times"
}

echo "building:"
cargo build --locked --workspace --bins
if chosen A; then
  tier A "without a cluster" "$(programs | grep -Ev "$OF_B|$OF_C")" --lib --bins --examples
  run --doc | tee -a "$work/log" || status=$?
fi
if [ -n "$background" ]; then
  started=$SECONDS
  made=0
  wait "$background" || made=$?
  background=
  echo "cluster:"
  cat "$work/cluster"
  echo "waiting for Kubernetes to be built: $((SECONDS - started)) s" >>"$work/times"
  [ "$made" = 0 ] || status=$made
fi
! chosen B || tier B "with a real control plane" "$(programs | grep -E "$OF_B")"
! chosen C || tier C "with a real node" "$(programs | grep -E "$OF_C")"

echo
echo "measured:"
sed 's/^/  /' "$LONGHAUL_MEASURED"
echo
cat "$work/times"
for letter in A B C; do
  chosen "$letter" || echo "tier $letter: not asked for"
done
if [ -s "$LONGHAUL_SKIPPED" ]; then
  echo "could not run:"
  sed 's/^/  /' "$LONGHAUL_SKIPPED"
fi
grep -E '^test .* \.\.\. FAILED$' "$work/log" || true
skipped=$(wc -l <"$LONGHAUL_SKIPPED")
# The runner prints one line for each program of tests. A skipped test counts as passed there.
awk -v skipped="$skipped" '
  /^test result: / {
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^passed/) passed += $(i - 1)
      if ($i ~ /^failed/) failed += $(i - 1)
      if ($i ~ /^ignored/) ignored += $(i - 1)
    }
  }
  END { printf "total: %d passed, %d failed, %d skipped\n", passed - skipped, failed, ignored + skipped }
' "$work/log"
exit "$status"
