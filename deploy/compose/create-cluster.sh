#!/bin/sh
# create-cluster.sh HOST:PORT…: makes a cluster of empty nodes, a replica for each primary, and waits until every node
# serves it. Does nothing where the first node is in a cluster already. REDISCLI_AUTH has the nodes' password.
set -eu

ask() { # HOST:PORT COMMAND…
    address=$1
    shift
    valkey-cli -h "${address%:*}" -p "${address##*:}" --no-auth-warning "$@"
}

if ask "$1" CLUSTER INFO | grep -q '^cluster_known_nodes:1[^0-9]*$'; then
    valkey-cli --no-auth-warning --cluster create "$@" --cluster-replicas 1 --cluster-yes
fi

tries=60
for node in "$@"; do
    until ask "$node" CLUSTER INFO | grep -q '^cluster_state:ok'; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ]; then
            echo "$node does not serve the cluster: look at CLUSTER NODES" >&2
            exit 1
        fi
        sleep 1
    done
done
