#!/bin/sh
# One container's workload. Each ends up asleep, so that its counters stand still.
# work.sh <workload>; runs under busybox, in the container's cgroup.
kv=$(dirname "$0")
signals=/run/signals

case $1 in
idle) ;;
burner)
    # Asleep until the host says so, then five seconds of CPU in this very process: a child would add the
    # cost of its own start and end outside the measured span.
    read -r _ <$signals/burn
    read -r now _ </proc/uptime
    end=$((${now%.*} + 5))
    while read -r now _ </proc/uptime && [ "${now%.*}" -lt $end ]; do :; done
    : >$signals/burned
    ;;
hog)
    # dd holds its 64 MiB buffer for as long as nobody reads from the other end of the pipe.
    # shellcheck disable=SC2217 # sleep is here for the open end, not for what comes through it.
    sleep 1000000 <$signals/hog &
    exec dd if=/dev/zero of=$signals/hog bs=67108864 count=1
    ;;
reader)
    # Read once: the pages stay on the inactive list.
    cat "$kv/disk/data" >/dev/null
    ;;
esac
# Opening a pipe that nobody writes to sleeps without any timer.
read -r _ <$signals/never
