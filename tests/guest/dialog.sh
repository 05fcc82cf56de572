#!/bin/sh
# The guest's life after boot: make the tree, start the workloads and the agent, then answer the host.
#
# Speaks on ttyS1 in lines. The host sends a word, the guest answers with a section between
# `=== begin WORD` and `=== end WORD`. Unasked it sends the sections `boot` and `tree`. When the host is gone
# the guest ends by its own deadline. Runs under busybox, as PID 1 or as a service of systemd.
kv=$(cd "$(dirname "$0")" && pwd)
export PATH="/bin:/usr/bin:/sbin:/usr/sbin"
# shellcheck source=/dev/null # written by the host for this one boot
. "$kv/params"
# shellcheck source-path=SCRIPTDIR source=beds.sh
. "$kv/beds.sh"
# shellcheck source-path=SCRIPTDIR source=counters.sh
. "$kv/counters.sh"

log=/dev/ttyS0
power_off() { echo o >/proc/sysrq-trigger; }
(sleep "$DEADLINE" && power_off) &

# The dialog is read by a program: no echo, no line-end translation.
exec 3<>/dev/ttyS1
stty 115200 raw -echo <&3

# section <name> <command...>
section() {
    name=$1
    shift
    echo "=== begin $name" >&3
    "$@" >&3 2>>$log
    # On a line of its own, also after output without a last line end.
    printf '\n=== end %s %s\n' "$name" $? >&3
}

boot() {
    echo "kernel $(uname -r)"
    echo "uptime $(cat /proc/uptime)"
    grep cgroup /proc/mounts
}

sha() { printf '%s' "$BED $1" | sha256sum | cut -c1-64; }
# A static pod's UID is an md5 sum without dashes.
md5() { printf '%s' "$BED $1" | md5sum | cut -c1-32; }

# workload <qos> <pod uid> <workload> [nested]: one container, announced to the host.
workload() {
    id=$(sha "$3")
    pod=$(pod_path $driver "$1" "$2")
    start "$pod" "$id" "${4:-}" "$kv/busybox" sh "$kv/work.sh" "$3"
    echo "container $3 $1 $2 $id $pod/$(container_name "$id")"
    grep -qx "pod $pod" /run/targets || echo "pod $pod" >>/run/targets
    echo "container $pod/$(container_name "$id")" >>/run/targets
}

tree() {
    : >/run/targets
    mkdir -p /run/signals
    for signal in burn hog never; do mkfifo /run/signals/$signal; done
    workload guaranteed 3f2b9c60-7a41-4c0e-9d8e-1b5a6c7d8e01 hog
    workload guaranteed 3f2b9c60-7a41-4c0e-9d8e-1b5a6c7d8e01 idle
    # Alone in its pod: the API has one window for all containers of a pod, and only with one is it exact.
    workload burstable 3f2b9c60-7a41-4c0e-9d8e-1b5a6c7d8e02 burner $nested
    workload besteffort 3f2b9c60-7a41-4c0e-9d8e-1b5a6c7d8e03 reader
    workload burstable "$(md5 static)" static
    # What a change of the kubelet's cgroup driver leaves behind: pods without containers.
    [ $driver = systemd ] && other=cgroupfs || other=systemd
    leftover=3f2b9c60-7a41-4c0e-9d8e-1b5a6c7d8e09
    for hierarchy in ${hierarchies:-$cgroups}; do
        mkdir -p "$hierarchy/$(pod_path "$other" burstable $leftover)"
    done
    echo "leftover $leftover"
}

# Two equal readings in a row: the shell is asleep again after it said what it did.
settled_cpu() {
    last=
    while current=$(cpu_ns "$1") && [ "$current" != "$last" ]; do
        last=$current
        sleep 0.3
    done
    echo "$current"
}

burner_path() { grep "/[^/]*$(sha burner)" /run/targets | cut -d' ' -f2; }

# The burner's counter before it burns; the host waits for a sample or two before it goes on.
rest() { echo "cpu_ns $(settled_cpu "$(burner_path)")"; }

burn() {
    echo go >/run/signals/burn
    while [ ! -e /run/signals/burned ]; do sleep 0.1; done
    echo "cpu_ns $(settled_cpu "$(burner_path)")"
}

agent() {
    "$kv/bin/kubevitals-agent" "$@"
}

bed_mount
section boot boot
section tree tree
agent run --node-name "$NODE" --cgroup-root /sys/fs/cgroup --proc-root /proc --aggregator "$AGGREGATOR" \
    --ca-file "$kv/ca.pem" --server-name "$SERVER_NAME" --token-file "$kv/token" --listen 127.0.0.1:0 \
    --interval 1s --log-format text >$log 2>&1 &

while read -r word <&3; do
    case $word in
    rest | burn | report) section "$word" "$word" ;;
    sample-json) section "$word" agent sample --format json ;;
    sample-table) section "$word" agent sample --format table ;;
    # A bench that stands in for the agent.
    bench) section "$word" agent bench ;;
    stop) power_off ;;
    esac
done
