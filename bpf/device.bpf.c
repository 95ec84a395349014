//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Who opens a TUN/TAP or ppp device. */
#include "headers/owner.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Documentation/admin-guide/devices.txt */
#define TUN_MAJOR 10
#define TUN_MINOR 200
#define PPP_MAJOR 108

SEC("cgroup/dev")
int device(struct bpf_cgroup_dev_ctx *ctx)
{
	struct process_event *e;

	count(HOOK_DEVICE);
	if (!(ctx->major == TUN_MAJOR && ctx->minor == TUN_MINOR) && ctx->major != PPP_MAJOR)
		return 1;
	e = bpf_ringbuf_reserve(&records, sizeof(*e), 0);
	if (!e) {
		count(LOST_RING);
		return 1;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->kind = RECORD_DEVICE;
	e->device = ctx->major << 20 | ctx->minor;
	e->time = bpf_ktime_get_ns();
	if (!own_current(&e->owner)) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return 1;
	}
	submit(e, SEEN_PROCESSES, 1);
	return 1;
}
