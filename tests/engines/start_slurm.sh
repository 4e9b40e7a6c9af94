#!/usr/bin/env bash
# Run a one-node Slurm from Debian's slurm-wlm and munge until this script ends. Usage, as root:
#   start_slurm.sh DIRECTORY   (short, readable by everyone); after "ready": SLURM_CONF=DIRECTORY/slurm.conf sinfo
# It writes only inside the directory, so a Slurm or munge that the machine already runs is not affected.
set -euo pipefail
dir=$(realpath "$1"); host=$(hostname -s)
read -r control node < <(python3 -c 'import socket
sockets = [socket.create_server(("", 0)) for _ in range(2)]
print(*[s.getsockname()[1] for s in sockets])')
mkdir "$dir/state" "$dir/spool"
cat > "$dir/slurm.conf" <<CONF
ClusterName=flowlab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$control
SlurmdPort=$node
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$dir/slurm.conf
(umask 077; head -c 1024 /dev/urandom > "$dir/munge.key")

# The daemons run in the foreground as children, so none of them outlives this script.
stop() {
    scancel --user root 2> /dev/null || true
    kill "${slurm[@]}" 2> /dev/null || true
    wait "${slurm[@]}" || true
    kill "$munge" 2> /dev/null || true
    wait "$munge" || true
}
munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munge.pid" \
    --seed-file="$dir/munge.seed" > "$dir/munge.log" 2>&1 &
munge=$! slurm=()
trap stop EXIT
trap 'exit 0' TERM INT
until [ -S "$dir/munge.socket" ]; do kill -0 "$munge"; sleep 0.1; done
slurmctld -D > "$dir/slurmctld.log" 2>&1 & slurm+=($!)
slurmd -D > "$dir/slurmd.log" 2>&1 & slurm+=($!)
for _ in $(seq 60); do
    if sinfo --noheader --format=%t 2> /dev/null | grep -qx idle; then echo ready; wait "${slurm[@]}"; fi
    sleep 0.5
done
echo "the node did not become idle:" >&2
tail -n 20 "$dir"/*.log >&2
exit 1
