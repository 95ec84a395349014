// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Who runs: the same reads serve every program type, since
 * bpf_get_current_pid_tgid is not offered to cgroup_skb before 6.10. */
#pragma once

#include "maps.h"

static __always_inline void describe(struct task_struct *task, struct owner *o)
{
	o->tgid = BPF_CORE_READ(task, tgid);
	o->start = BPF_CORE_READ(task, group_leader, start_boottime);
	o->uid = BPF_CORE_READ(task, cred, uid.val);
	o->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	BPF_CORE_READ_STR_INTO(&o->comm, task, group_leader, comm);
}

/* own_current names the running process as the owner, unless it is a kernel
 * thread, or is the owner already. */
static __always_inline int own_current(struct owner *o)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!task || (BPF_CORE_READ(task, flags) & PF_KTHREAD) || !BPF_CORE_READ(task, tgid))
		return 0;
	describe(task, o);
	o->attribution = OWNER_EXACT;
	return 1;
}

/* plain turns a socket pointer that the verifier tracks into a number, so that
 * members it does not offer can be read with bpf_probe_read_kernel. */
static __always_inline struct sock *plain(void *tracked)
{
	void *p = 0;

	bpf_probe_read_kernel(&p, sizeof(p), &tracked);
	return p;
}

static __always_inline void map4(__be32 *to, __be32 addr)
{
	to[0] = to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = addr;
}

static __always_inline void read_tuple(struct sock *sk, struct tuple *t)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		map4(t->local.addr, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		map4(t->remote.addr, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	} else {
		BPF_CORE_READ_INTO(&t->local.addr, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&t->remote.addr, sk, __sk_common.skc_v6_daddr);
	}
	t->local.port = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
	t->remote.port = BPF_CORE_READ(sk, __sk_common.skc_dport);
}

static __always_inline __u32 read_netns(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}
