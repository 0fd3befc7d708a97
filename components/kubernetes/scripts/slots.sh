#!/bin/sh
# Makes a Redis Cluster of the nodes, or fits one that is there to the number of shards that are wanted: joins nodes that are new and
# moves slots, with their keys, until each active shard has its part of the 16384. Run again it changes nothing.
#
#   MERIDIAN_NODES     `host:port …`, in the order of the pods
#   MERIDIAN_SHARDS    how many shards hold slots; primaries beyond are emptied, and can then be taken away
#   MERIDIAN_REPLICAS  of each shard
set -eu
# shellcheck source=lib.sh
. "${0%/*}/lib.sh"

# cluster COMMAND …  — redis-cli's own cluster manager.
cluster() {
  if [ "$MERIDIAN_TLS" = yes ]; then
    set -- "$@" --tls --cacert "$MERIDIAN_TLS_DIR/ca.crt" --cert "$MERIDIAN_TLS_DIR/tls.crt" --key "$MERIDIAN_TLS_DIR/tls.key"
  fi
  REDISCLI_AUTH="$(cat "$MERIDIAN_NODE/password")" redis-cli --user "$(cat "$MERIDIAN_NODE/username")" --no-auth-warning --cluster "$@"
}

at() {
  at_node=$1
  shift
  call "${at_node%:*}" "${at_node##*:}" "$@"
}

info() {
  at "$1" CLUSTER INFO | field "$2"
}

for node in $MERIDIAN_NODES; do
  until [ "$(at "$node" PING)" = PONG ]; do
    say "waiting for $node"
    sleep 1
  done
done
first=${MERIDIAN_NODES%% *}

if [ "$(info "$first" cluster_known_nodes)" = 1 ] && [ "$(info "$first" cluster_slots_assigned)" = 0 ]; then
  say 'making the cluster'
  # shellcheck disable=SC2086
  cluster create $MERIDIAN_NODES --cluster-replicas "$MERIDIAN_REPLICAS" --cluster-yes
else
  for node in $MERIDIAN_NODES; do
    [ "$(info "$node" cluster_known_nodes)" = 1 ] || continue
    primaries=$(at "$first" CLUSTER NODES | grep -c 'master' || true)
    wanted=$(($(echo "$MERIDIAN_NODES" | wc -w) / (MERIDIAN_REPLICAS + 1)))
    say "joining $node"
    if [ "$primaries" -lt "$wanted" ]; then
      cluster add-node "$node" "$first"
    else
      cluster add-node "$node" "$first" --cluster-slave
    fi
    # A node that others don't know yet can't be given slots.
    until at "$first" CLUSTER NODES | grep -q "$(at "$node" CLUSTER MYID)"; do sleep 0.2; done
  done
fi

# Every node must see the same cluster, whole, before slots move.
all_agree() {
  for node in $MERIDIAN_NODES; do
    [ "$(info "$node" cluster_state)" = ok ] || return 1
    [ "$(info "$node" cluster_known_nodes)" = "$(info "$first" cluster_known_nodes)" ] || return 1
  done
  cluster check "$first" >/dev/null 2>&1
}
tries=0
until all_agree; do
  tries=$((tries + 1))
  say 'waiting until all nodes agree'
  # A move that was interrupted leaves a slot open at both ends.
  [ $((tries % 15)) -ne 0 ] || cluster fix "$first" --cluster-yes || true
  sleep 1
done

# The first so many primaries, in the order of their pods, hold slots.
weights=''
n=0
for node in $MERIDIAN_NODES; do
  [ "$(at "$node" ROLE | head -n 1)" = master ] || continue
  n=$((n + 1))
  weight=1
  [ "$n" -le "$MERIDIAN_SHARDS" ] || weight=0
  weights="$weights $(at "$node" CLUSTER MYID)=$weight"
done
# shellcheck disable=SC2086
cluster rebalance "$first" --cluster-use-empty-masters --cluster-threshold 1 --cluster-weight $weights

until [ "$(info "$first" cluster_state)" = ok ]; do sleep 0.2; done
say "$(info "$first" cluster_slots_assigned) slots on $MERIDIAN_SHARDS shards"
