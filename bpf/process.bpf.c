//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* exec, fork and exit, with what can be read at that moment only: a process may
 * have gone before user space looks. */
#include "headers/owner.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PATH_DEPTH 24
#define CGROUP_DEPTH 8

static __always_inline struct process_event fill(__u8 kind, struct task_struct *task)
{
	struct process_event e = { .kind = kind, .time = bpf_ktime_get_ns() };
	struct task_struct *parent = task->real_parent;

	describe(task, &e.owner);
	e.owner.attribution = OWNER_EXACT;
	e.parent = parent->tgid;
	e.parent_start = parent->group_leader->start_boottime;
	return e;
}

/* add_name appends a name with its NUL, and returns the new length; size is a
 * power of two. */
static __always_inline __u32 add_name(char *buffer, __u32 at, __u32 size, const void *name)
{
	long n;

	if (at >= size)
		return at;
	asm volatile("" : "+r"(at)); /* 6.1 forgets the comparison when at is spilled: a mask it follows */
	at &= size - 1;
	n = bpf_probe_read_kernel_str(buffer + at, NAME_BYTES, name);
	return n > 0 ? at + n : at;
}

/* read_path walks from the file to the root of its mount namespace. d_path is
 * not offered to this program type. */
static __always_inline void read_path(struct exec_event *e, struct file *file)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry), *parent;
	struct vfsmount *vfs = BPF_CORE_READ(file, f_path.mnt);
	struct mount *mount = (void *)vfs - bpf_core_field_offset(struct mount, mnt), *above;
	__u32 at = 0;

	e->unlinked = BPF_CORE_READ(file, f_inode, i_nlink) == 0;
	for (int i = 0; i < PATH_DEPTH; i++) {
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == parent || dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
			above = BPF_CORE_READ(mount, mnt_parent);
			if (above == mount) {
				e->path_whole = 1;
				break;
			}
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		at = add_name(e->path, at, PATH_BYTES, BPF_CORE_READ(dentry, d_name.name));
		dentry = parent;
	}
	e->path_length = at;
}

static __always_inline struct kernfs_node *above(struct kernfs_node *node)
{
	struct kernfs_node___before_6_15 *old = (void *)node;

	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return (void *)BPF_CORE_READ(old, parent);
}

/* read_cgroup takes the path in the v2 hierarchy, or, where the process sits in
 * its root (a hybrid mount), that of the v1 memory controller. */
static __always_inline void read_cgroup(struct exec_event *e, struct task_struct *task)
{
	struct kernfs_node *node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn), *parent;
	__u32 at = 0;

	if (node && !above(node) && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		int id = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
		struct css_set *set = BPF_CORE_READ(task, cgroups);
		struct cgroup_subsys_state *css = 0;

		bpf_probe_read_kernel(&css, sizeof(css),
				      (void *)set + bpf_core_field_offset(struct css_set, subsys) + id * sizeof(css));
		if (css)
			node = BPF_CORE_READ(css, cgroup, kn);
	}
	for (int i = 0; i < CGROUP_DEPTH && node; i++) {
		parent = above(node);
		if (!parent)
			break;
		at = add_name(e->cgroup, at, CGROUP_BYTES, BPF_CORE_READ(node, name));
		node = parent;
	}
	e->cgroup_length = at;
}

static __always_inline void read_args(struct exec_event *e, struct task_struct *task)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start), end = BPF_CORE_READ(task, mm, arg_end);
	__u32 n = end - start, last;

	if (end <= start)
		return;
	if (end - start > ARGS_BYTES) {
		n = ARGS_BYTES;
		e->args_cut = 1;
	}
	last = n - 1;
	asm volatile("" : "+r"(last));
	if (last >= ARGS_BYTES || bpf_probe_read_user(e->args, last + 1, (void *)start))
		return;
	e->args_length = n;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct exec_event *e;
	long n;

	count(HOOK_EXEC);
	e = bpf_ringbuf_reserve(&records, sizeof(*e), 0);
	if (!e) {
		count(LOST_RING);
		return 0;
	}
	e->base = fill(RECORD_EXEC, task);
	__builtin_memset((void *)e + sizeof(e->base), 0, offsetof(struct exec_event, filename) - sizeof(e->base));
	n = bpf_probe_read_kernel_str(e->filename, NAME_BYTES, BPF_CORE_READ(bprm, filename));
	e->filename_length = n > 0 ? n : 0;
	read_args(e, task);
	read_path(e, BPF_CORE_READ(bprm, file));
	read_cgroup(e, task);
	submit(e, SEEN_PROCESSES, 1);
	return 0;
}

static __always_inline void emit(__u8 kind, struct task_struct *task)
{
	struct process_event *e = bpf_ringbuf_reserve(&records, sizeof(*e), 0);

	if (!e) {
		count(LOST_RING);
		return;
	}
	*e = fill(kind, task);
	submit(e, SEEN_PROCESSES, 1);
}

/* A thread is no process. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork, struct task_struct *parent, struct task_struct *child)
{
	count(HOOK_FORK);
	if (child->pid == child->tgid)
		emit(RECORD_FORK, child);
	return 0;
}

/* The last thread to leave ends the process, and need not be its first. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(leave, struct task_struct *task)
{
	count(HOOK_EXIT);
	if (BPF_CORE_READ(task, signal, live.counter) == 0)
		emit(RECORD_EXIT, task);
	return 0;
}
