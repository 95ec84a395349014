// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Who runs: the same reads serve every program type, since
 * bpf_get_current_pid_tgid is not offered to cgroup_skb before 6.10. */
#pragma once

#include "maps.h"

/* Set before load where the kernel gives programs of this type pointers that they
 * may follow by themselves: a call for each step costs ten times as much. */
volatile const __u32 typed;

/* describe takes a task that the verifier tracks. */
static __always_inline void describe(struct task_struct *task, struct owner *o)
{
	struct task_struct *leader = task->group_leader;

	o->tgid = task->tgid;
	o->start = leader->start_boottime;
	o->uid = task->cred->uid.val;
	o->cgroup = task->cgroups->dfl_cgrp->kn->id;
	bpf_probe_read_kernel(&o->comm, sizeof(o->comm), &leader->comm);
}

/* describe_plain is describe by calls. */
static __always_inline void describe_plain(struct task_struct *task, struct owner *o)
{
	o->tgid = BPF_CORE_READ(task, tgid);
	o->start = BPF_CORE_READ(task, group_leader, start_boottime);
	o->uid = BPF_CORE_READ(task, cred, uid.val);
	o->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	BPF_CORE_READ_STR_INTO(&o->comm, task, group_leader, comm);
}

/* own_current names the running process as the owner, unless it is a kernel
 * thread. */
static __always_inline int own_current(struct owner *o)
{
	if (typed) {
		struct task_struct *task = bpf_get_current_task_btf();

		if ((task->flags & PF_KTHREAD) || !task->tgid)
			return 0;
		describe(task, o);
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		if (!task || (BPF_CORE_READ(task, flags) & PF_KTHREAD) || !BPF_CORE_READ(task, tgid))
			return 0;
		describe_plain(task, o);
	}
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

/* read_tuple takes a socket that the verifier tracks by its BTF type. */
static __always_inline void read_tuple(struct sock *sk, struct tuple *t)
{
	if (sk->__sk_common.skc_family == AF_INET) {
		map4(t->local.addr, sk->__sk_common.skc_rcv_saddr);
		map4(t->remote.addr, sk->__sk_common.skc_daddr);
	} else {
		for (int i = 0; i < 4; i++) {
			t->local.addr[i] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			t->remote.addr[i] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[i];
		}
	}
	t->local.port = bpf_htons(sk->__sk_common.skc_num);
	t->remote.port = sk->__sk_common.skc_dport;
}

/* local_end and remote_end read what the verifier offers of a socket of a cgroup
 * program, which costs no call. */
static __always_inline void local_end(struct bpf_sock *sk, struct endpoint *e)
{
	__be32 four = *(volatile __be32 *)&sk->src_ip4; /* not merged with the loads below: the verifier wants offsets in sight */

	if (sk->family == AF_INET) {
		map4(e->addr, four);
	} else {
		e->addr[0] = sk->src_ip6[0];
		e->addr[1] = sk->src_ip6[1];
		e->addr[2] = sk->src_ip6[2];
		e->addr[3] = sk->src_ip6[3];
	}
	e->port = bpf_htons(sk->src_port);
}

static __always_inline void remote_end(struct bpf_sock *sk, struct endpoint *e)
{
	__be32 four = *(volatile __be32 *)&sk->dst_ip4;

	if (sk->family == AF_INET) {
		map4(e->addr, four);
	} else {
		e->addr[0] = sk->dst_ip6[0];
		e->addr[1] = sk->dst_ip6[1];
		e->addr[2] = sk->dst_ip6[2];
		e->addr[3] = sk->dst_ip6[3];
	}
	e->port = sk->dst_port;
}

static __always_inline __u32 netns_of(struct sock *sk)
{
	return sk->__sk_common.skc_net.net->ns.inum;
}

/* read_netns is netns_of for a socket of a cgroup program. */
static __always_inline __u32 read_netns(struct bpf_sock *sk)
{
	if (sk->protocol == IPPROTO_TCP) {
		struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

		if (tcp)
			return netns_of(&tcp->inet_conn.icsk_inet.sk);
	}
	return BPF_CORE_READ(plain(sk), __sk_common.skc_net.net, ns.inum);
}
