#!/bin/bash
# Runs in the guest, as root, under its systemd. Each check is a line "RESULT ok
# NAME" or "RESULT failed NAME: why" on the console, where the test reads it.
cd /opt/sallyport

report() { # NAME CODE TEXT
	if [ "$2" = 0 ]; then echo "RESULT ok $1"; else echo "RESULT failed $1: $(echo "$3" | tail -n 12 | tr '\r\n' ' |')"; fi
}
check() { # NAME COMMAND...
	local name=$1 out code
	shift
	out=$("$@" 2>&1) && code=0 || code=$?
	report "$name" $code "$out"
}
fails() { ! "$@"; }
# on_host: for what a container's own process numbers stand in the way of.
on_host() {
	if systemd-detect-virt -cq; then echo "RESULT skipped $1: the container has process numbers of its own"; else check "$@"; fi
}
same() { [ "$1" = "$2" ] || { echo "is '$1', want '$2'"; return 1; }; }
until_true() { # COMMAND...: for two minutes at most
	local i
	for i in $(seq 120); do "$@" >/dev/null 2>&1 && return 0; sleep 1; done
	"$@"
}
of() { systemctl show -P "$2" "$1.service"; }
mode() { stat -c '%U:%G %a' "$1"; }
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(of "$1" MainPID)/status"; }
next_seq() { sallyport status | sed -n 's/.*next sequence number //p'; }
at_collector() { runuser -u sallyport-collector -- sallyport-collector findings list; }
active() { systemctl is-active "$1" && same "$(of "$1" SubState)" running; }

echo "--- the script"
check "script installs" deploy/systemd/install.sh install
check "script, agent starts" systemctl start sallyport
check "script, agent is active" active sallyport
check "script, completion" grep -q sallyport /usr/share/bash-completion/completions/sallyport
echo '# kept' >>/etc/sallyport/agent.yaml
check "script installs over itself" deploy/systemd/install.sh install agent
check "script keeps the configuration" grep -q '# kept' /etc/sallyport/agent.yaml
check "script, agent is active after it" active sallyport
check "script uninstalls" deploy/systemd/install.sh uninstall
check "script, program and unit are gone" fails ls /usr/bin/sallyport /usr/bin/sallyport-collector /usr/lib/systemd/system/sallyport.service
check "script, state is kept" ls /var/lib/sallyport/ledger.db /etc/sallyport/agent.yaml
check "script purges" deploy/systemd/install.sh purge
check "script, nothing is left" fails ls -d /etc/sallyport /var/lib/sallyport /var/lib/sallyport-collector
check "script, the user is gone" fails getent passwd sallyport-collector

echo "--- the packages"
check "packages install" dpkg -i packages/1/sallyport_*.deb packages/1/sallyport-collector_*.deb
check "agent.yaml's mode" same "$(mode /etc/sallyport/agent.yaml)" "root:root 600"
check "collector.yaml's mode" same "$(mode /etc/sallyport/collector.yaml)" "root:sallyport-collector 640"
check "nothing starts unasked" fails systemctl is-active sallyport
sed -i 's/^#identity:/url: https:\/\/127.0.0.1:8443\nidentity:/; s/^#  names:.*/  names: [127.0.0.1, localhost]/; s/format: json/format: json\n    filter: {test: true}/' /etc/sallyport/collector.yaml
sed -i 's/\[file\]/[collector]/' /etc/sallyport/agent.yaml
check "collector init" runuser -u sallyport-collector -- sallyport-collector init
check "collector starts" systemctl enable --now sallyport-collector
check "collector answers" until_true runuser -u sallyport-collector -- sallyport-collector agents list
runuser -u sallyport-collector -- sallyport-collector token create --uses 1 --ttl 1h >/root/token
check "agent enrols" sallyport enrol --token-file /root/token
check "agent starts, ready when watching" systemctl enable --now sallyport
check "agent is active" active sallyport
check "collector is active" active sallyport-collector
systemctl status --no-pager sallyport sallyport-collector | cat

echo "--- the sandbox"
check "agent's capabilities" same "$(status_of sallyport CapEff)" 000000c000083004
check "agent's bounding set" same "$(status_of sallyport CapBnd)" 000000c000083004
check "agent, no new privileges" same "$(status_of sallyport NoNewPrivs)" 1
check "agent, system call filter" same "$(status_of sallyport Seccomp)" 2
check "collector's capabilities" same "$(status_of sallyport-collector CapBnd)" 0000000000000000
check "collector, no new privileges" same "$(status_of sallyport-collector NoNewPrivs)" 1
check "collector, system call filter" same "$(status_of sallyport-collector Seccomp)" 2
check "collector's user" same "$(ps -o user:32= -p "$(of sallyport-collector MainPID)" | tr -d ' ')" sallyport-collector
for unit in sallyport sallyport-collector; do
	check "$unit cannot write to /usr" fails nsenter -t "$(of $unit MainPID)" -m touch /usr/x
	check "$unit cannot write to /etc" fails nsenter -t "$(of $unit MainPID)" -m touch /etc/x
	systemd-analyze security --no-pager $unit | tail -n 1
done
check "exposure of the agent at most 4.0" systemd-analyze security --no-pager --threshold=40 sallyport
check "exposure of the collector at most 2.0" systemd-analyze security --no-pager --threshold=20 sallyport-collector
sallyport status
on_host "doctor, nothing is degraded" sallyport doctor

echo "--- the work"
on_host "self-test" sallyport selftest --timeout 2m
on_host "the finding is at the collector" until_true sh -c 'runuser -u sallyport-collector -- sallyport-collector findings list | grep rdp'
at_collector

echo "--- reload, kill -9, watchdog, restart, upgrade"
pid=$(of sallyport MainPID) seq=$(next_seq)
check "reload" systemctl reload sallyport
check "reload keeps the process" same "$(of sallyport MainPID)" "$pid"
kill -9 "$pid"
check "back after kill -9" until_true sh -c "systemctl is-active sallyport && [ \$(systemctl show -P MainPID sallyport) != $pid ]"
check "answers after kill -9" until_true sallyport status
check "sequence goes on after kill -9" test "$(next_seq)" -ge "$seq"
on_host "self-test after kill -9" sallyport selftest --timeout 2m
mkdir -p /etc/systemd/system/sallyport.service.d
printf '[Service]\nWatchdogSec=20\nTimeoutAbortSec=5\n' >/etc/systemd/system/sallyport.service.d/watchdog.conf
systemctl daemon-reload
check "restart" systemctl restart sallyport
pid=$(of sallyport MainPID)
sleep 60
check "the watchdog lets a living agent be" same "$(of sallyport MainPID)" "$pid"
kill -STOP "$pid"
check "the watchdog ends one that stands still" until_true sh -c "systemctl is-active sallyport && [ \$(systemctl show -P MainPID sallyport) != $pid ]"
check "and says so" sh -c 'journalctl -u sallyport | grep -i watchdog'
rm -r /etc/systemd/system/sallyport.service.d
systemctl daemon-reload
systemctl restart sallyport
seq=$(next_seq) pid=$(of sallyport MainPID) number=$(at_collector | wc -l)
kill -9 "$(of sallyport-collector MainPID)"
check "collector, back after kill -9" until_true runuser -u sallyport-collector -- sallyport-collector agents list
check "collector, findings after kill -9" test "$(at_collector | wc -l)" -ge "$number"
check "upgrade" dpkg -i packages/2/sallyport_*.deb packages/2/sallyport-collector_*.deb
check "upgrade restarts the agent" fails test "$(of sallyport MainPID)" = "$pid"
check "upgrade, agent is active" active sallyport
check "upgrade, the new version runs" sh -c 'sallyport status | grep "version 2.0"'
check "upgrade keeps the configuration" grep -q '\[collector\]' /etc/sallyport/agent.yaml
check "upgrade keeps the mode" same "$(mode /etc/sallyport/collector.yaml)" "root:sallyport-collector 640"
check "upgrade, sequence goes on" test "$(next_seq)" -ge "$seq"
check "upgrade, collector answers" until_true runuser -u sallyport-collector -- sallyport-collector agents list
check "upgrade, findings are there" test "$(at_collector | wc -l)" -ge "$number"
on_host "self-test after the upgrade" sallyport selftest --timeout 2m

echo "--- the end"
begin=$(date +%s)
check "stop" systemctl stop sallyport sallyport-collector
check "agent ended in good order" same "$(of sallyport Result) $(of sallyport ExecMainStatus)" "success 0"
check "collector ended in good order" same "$(of sallyport-collector Result) $(of sallyport-collector ExecMainStatus)" "success 0"
check "nobody was killed at the stop" fails sh -c 'journalctl -u sallyport -u sallyport-collector --since @'"$begin"' | grep -i "killing\|SIGKILL"'
check "a broken configuration is named" sh -c 'echo "nonsense: 1" >>/etc/sallyport/agent.yaml; ! systemctl start sallyport; journalctl -u sallyport -n 20 | grep nonsense; systemctl stop sallyport'
check "packages are removed" dpkg -r sallyport sallyport-collector
check "removed, the program is gone" fails ls /usr/bin/sallyport
check "removed, state and configuration are kept" ls /var/lib/sallyport/ledger.db /etc/sallyport/agent.yaml /var/lib/sallyport-collector/store.db
check "packages are purged" dpkg -P sallyport sallyport-collector
check "purged, nothing is left" fails ls -d /var/lib/sallyport /var/lib/sallyport-collector /etc/sallyport
echo "RESULT end"
