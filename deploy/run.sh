#!/bin/sh
# "make run" and "make stop": a collector and an agent on this host, their state in
# state/, proved by the live self-test.
set -eu

cd "$(dirname "$0")/.."
top=$(pwd)
state=$top/state
agent=$top/build/sallyport
collector=$top/build/sallyport-collector
wait_seconds=60

say() { echo "$*" >&2; }

fail() {
	say "make run: $1"
	for log in collector agent; do
		[ -s "$state/$log.log" ] && { say "--- the end of $state/$log.log"; tail -n 20 "$state/$log.log" >&2; }
	done
	exit 1
}

# alive NAME: the process of state/NAME.pid runs and is ours.
alive() {
	[ -s "$state/$1.pid" ] || return 1
	pid=$(cat "$state/$1.pid")
	case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in "$top"/build/*) return 0 ;; esac
	return 1
}

stop_one() {
	alive "$1" || { rm -f "$state/$1.pid"; return 0; }
	pid=$(cat "$state/$1.pid")
	kill -TERM "$pid"
	i=0
	while kill -0 "$pid" 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt 150 ] || { say "$1 ($pid) does not end within 30 s; killing it (nothing acknowledged is lost)"; kill -KILL "$pid"; break; }
		sleep 0.2
	done
	rm -f "$state/$1.pid"
	say "stopped $1"
}

start_one() { # NAME PROGRAM ARGUMENT...
	name=$1
	shift
	setsid "$@" >>"$state/$name.log" 2>&1 </dev/null &
	echo $! >"$state/$name.pid"
}

# until_true NAME COMMAND...: wait for COMMAND while the process NAME lives.
until_true() {
	name=$1
	shift
	i=0
	until "$@" >/dev/null 2>&1; do
		kill -0 "$(cat "$state/$name.pid")" 2>/dev/null || fail "the $name ended"
		i=$((i + 1))
		[ $i -lt $((wait_seconds * 5)) ] || fail "the $name is not ready after $wait_seconds s"
		sleep 0.2
	done
}

write_configs() {
	cat >"$state/collector.yaml" <<EOF
state_dir: $state/collector
url: https://127.0.0.1:8443
listen:
  agents: 127.0.0.1:8443
identity:
  names: [127.0.0.1, localhost]
exporters:
  - name: file
    type: file
    format: json
    filter: {test: true}
    settings: {path: $state/findings.jsonl}
EOF
	cat >"$state/agent.yaml" <<EOF
state_dir: $state/agent
enrolment:
  token_file: $state/enrolment-token
deliver:
  destinations: [collector]
EOF
}

start() {
	[ "$(id -u)" = 0 ] || { say "make run: the agent attaches to the kernel and needs root: sudo make run"; exit 2; }
	umask 077
	mkdir -p "$state"
	if alive agent || alive collector; then
		say "make run: already running; 'sudo make stop' ends it"
		exit 1
	fi
	[ -e "$state/collector.yaml" ] || write_configs
	if [ ! -d "$state/collector" ]; then
		"$collector" init --config "$state/collector.yaml" >"$state/first-sign-in" || fail "the collector could not be set up"
	fi
	start_one collector "$collector" run --config "$state/collector.yaml"
	until_true collector "$collector" agents list --config "$state/collector.yaml"
	if [ ! -s "$state/enrolment-token" ]; then
		"$collector" token create --config "$state/collector.yaml" --uses 1 --ttl 1h >"$state/enrolment-token" || fail "no enrolment token"
	fi
	start_one agent "$agent" agent --config "$state/agent.yaml"
	until_true agent "$agent" status --config "$state/agent.yaml"
	say "collector and agent run; making a test connection"
	"$agent" selftest --config "$state/agent.yaml" || fail "the self-test found no finding"
	say ""
	say "the same finding at the collector:"
	until_true collector sh -c "'$collector' findings list --config '$state/collector.yaml' | grep -q rdp"
	"$collector" findings list --config "$state/collector.yaml"
	say ""
	grep '^console ' "$state/collector.log" | tail -n 1
	cat "$state/first-sign-in"
	say "logs: $state/agent.log, $state/collector.log; 'sudo make stop' ends both, 'sudo make clean' removes $state"
}

stop() {
	[ -d "$state" ] || exit 0
	stop_one agent
	stop_one collector
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*) say "usage: run.sh start|stop"; exit 2 ;;
esac
