//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The files of every process, once at start: sockets older than the sensor get
 * their owner, and TUN files show who holds a tunnel. */
#include "headers/flow.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MKDEV(major, minor) ((major) << 20 | (minor)) /* include/linux/kdev_t.h */

static __always_inline void seed_tunnel(struct bpf_iter__task_file *ctx, struct task_struct *task)
{
	struct process_event e = { .kind = RECORD_TUNNEL, .device = ctx->fd };

	describe(task, &e.owner);
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
}

/* seed_flow begins the flow of a connected socket, which user space is told of
 * now: it may stay silent for hours. */
static __always_inline void seed_flow(struct flow *f, struct flow_event *e)
{
	struct control c = control();

	f->cookie = e->packet.cookie;
	f->first = e->first;
	f->proto = e->packet.proto;
	f->socket.local = e->local;
	f->socket.remote = e->packet.remote;
	f->established = f->proto == IPPROTO_TCP;
	f->due = c.seconds + c.update;
	f->opened = 1;
}

static __always_inline void seed_socket(struct bpf_iter__task_file *ctx, struct task_struct *task, struct sock *sk)
{
	struct flow_event e = { .packet.kind = RECORD_SOCKET };
	struct socket_state *s;
	struct tuple t = {};
	__u8 state;

	s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		count(LOST_STORAGE);
		return;
	}
	if (!s->owner.tgid) {
		describe(task, &s->owner);
		s->owner.attribution = OWNER_SEEDED;
		s->netns = netns_of(sk);
	}
	state = sk->__sk_common.skc_state;
	if (state == TCP_LISTEN && sk->sk_protocol == IPPROTO_TCP)
		s->listener = 1;
	e.packet.proto = sk->sk_protocol;
	e.packet.outcome = state;
	e.packet.netns = s->netns;
	e.packet.time = bpf_ktime_get_ns();
	e.first = e.packet.time;
	e.packet.cookie = bpf_get_socket_cookie(sk);
	e.packet.owner = s->owner;
	read_tuple(sk, &t);
	e.local = t.local;
	e.packet.remote = t.remote;
	if (!s->flow.first && t.remote.port && state != TCP_LISTEN && state != TCP_SYN_SENT)
		seed_flow(&s->flow, &e);
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
}

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;
	__u16 family, type;

	if (!task || !file)
		return 0;
	count(HOOK_FILES);
	if (BPF_CORE_READ(file, f_inode, i_rdev) == MKDEV(10, 200)) {
		seed_tunnel(ctx, task);
		return 0;
	}
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	type = BPF_CORE_READ(sk, sk_type);
	if ((family != AF_INET && family != AF_INET6) || (type != SOCK_STREAM && type != SOCK_DGRAM))
		return 0;
	seed_socket(ctx, task, sk);
	return 0;
}
